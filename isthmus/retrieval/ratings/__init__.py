"""Predicted ratings: what a user, known by a history alone, would rate an item.

Nothing is kept of a user. Whoever asks gives a history, the user's state is solved from it in
closed form, and so a new user or a new rating moves the next prediction without training.
"""
