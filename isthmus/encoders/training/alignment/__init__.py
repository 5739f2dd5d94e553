"""Projection heads that bring different encoders into one space, learned from pairs."""
