"""The ranking head: it orders the pool of candidates of a user."""
