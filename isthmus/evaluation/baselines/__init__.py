"""Baselines: candidate generators behind an adapter, rating means, and the grids to tune them."""
