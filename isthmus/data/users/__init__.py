"""Attributes of users: read, typed, and stored."""
