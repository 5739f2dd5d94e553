"""Small worlds of ratings with known answers."""

from __future__ import annotations

import numpy as np

from isthmus.retrieval.ratings.ratings import History, Ratings

ITEMS, USERS = 40, 60


def ratings_of(table):
    """Take a table of users by items; NaN where there is no rating."""
    rows, columns = np.nonzero(~np.isnan(table))
    return Ratings(rows, columns, table[rows, columns], table.shape)


def additive(users=USERS, items=ITEMS, share=0.5, noise=0.0, seed=0):
    """Return a whole table of user + item effects, and the same with a share of it kept."""
    generator = np.random.default_rng(seed)
    of_users, of_items = generator.normal(size=users), generator.normal(size=items)
    table = (
        3 + 0.5 * of_users[:, None] + 0.5 * of_items + noise * generator.normal(size=(users, items))
    )
    return table, np.where(generator.random(table.shape) < share, table, np.nan)


def tastes(users=120, items=60, share=0.5, seed=0):
    """Return a world of two camps: content tells what an item is, ratings what a user likes."""
    generator = np.random.default_rng(seed)
    kind, camp = np.arange(items) % 2, np.arange(users) % 2
    table = np.where(kind == camp[:, None], 4.0, 2.0) + 0.2 * generator.normal(size=(users, items))
    vectors = generator.normal(size=(items, 8)).astype(np.float32) * 0.1
    vectors[np.arange(items), kind] += 1
    return np.where(generator.random(table.shape) < share, table, np.nan), vectors, kind


def history(table, user):
    """Return what a user of a table rated."""
    known = np.flatnonzero(~np.isnan(table[user]))
    return History(known, table[user, known])


def one_domain(items):
    return np.zeros(items, np.int64)
