"""Vectors become candidates: the catalog, its releases and the view that searches them."""
