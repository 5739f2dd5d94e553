"""The ranker: it orders the candidates of a user by features and attention over the history."""
