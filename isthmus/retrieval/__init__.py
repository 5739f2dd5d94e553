"""Candidates become ranked items: spaces, queries, users and results."""
