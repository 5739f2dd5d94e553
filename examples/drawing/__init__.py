"""Flat illustrations for the demo catalogue: a canvas, fourteen motifs and four frames."""
