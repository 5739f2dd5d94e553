"""The ranker: it orders the candidates of a user, from features and an attention over the history."""
