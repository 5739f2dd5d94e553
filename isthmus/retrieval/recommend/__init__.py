"""The recommender: sources of candidates and ranking heads, trained, kept, and asked together."""
