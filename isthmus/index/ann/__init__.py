"""Vectors of one name, searched: index families, codes, bitmaps, GPU placement."""
