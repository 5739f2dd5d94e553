"""Candidates: independent sources under one contract, and the pool of all they found."""
