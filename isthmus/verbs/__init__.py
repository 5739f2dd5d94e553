"""The verbs of a space."""
