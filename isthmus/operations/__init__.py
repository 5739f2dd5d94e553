"""The verbs of a space that tie several packages together, one file an operation."""
