"""Distillation: small, fast encoders that learn the vectors of large ones."""
