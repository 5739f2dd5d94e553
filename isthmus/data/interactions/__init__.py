"""Interactions of users with items: read from any input, deduplicated, stored, as matrices."""
