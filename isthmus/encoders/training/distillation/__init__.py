"""Distillation: small, fast encoders trained on the vectors of large ones."""
