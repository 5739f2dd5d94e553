"""Rating prediction: the rating that a user, known by a history alone, would give an item.

No user is stored. Each request brings a history, from which the state of the user is inferred in
closed form, so a new user or a new rating changes the next prediction without training.
"""
