"""Gated and learned fusion: how much each block counts, query by query."""
