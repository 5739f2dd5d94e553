"""Alignment: heads that bring the vectors of different encoders into one space."""
