"""Candidate generation: generators behind one contract, and the pool of what they retrieve."""
