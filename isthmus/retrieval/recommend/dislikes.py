"""Dislikes: items that are like what a user disliked come later in the list.

The score of an item is multiplied by ``1 - s``, where ``s`` is its greatest similarity to a
disliked item: the mean over the named vectors that both have of ``(cos - c) / (1 - c)``, at least
0, where ``c`` is the mean cosine of the disliked item with the item's domain. So an item that is no
more like it than chance keeps its score, and its double comes last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.query import Query, ScoredRows, order_of, similarities


def move_away(view: View, users: Sequence[User], lists: Sequence[ScoredRows]) -> list[ScoredRows]:
    """Return the list of each user, in the order of the scores without what is disliked."""
    return [_moved(view, user, *found) for user, found in zip(users, lists, strict=True)]


def _moved(view: View, user: User, rows: Positions, scores: FloatArray) -> ScoredRows:
    disliked = view.find([entry.item_id for entry in user.history if entry.value < 0])
    disliked = disliked[disliked >= 0]
    if not len(disliked) or not len(rows):
        return rows, scores
    likeness = np.max([_likeness(view, item, rows) for item in disliked.tolist()], axis=0)
    moved = np.asarray(scores * (1 - np.clip(likeness, 0, 1)), np.float32)
    order = order_of(view, rows, moved)
    return rows[order], moved[order]


def _likeness(view: View, item: int, rows: Positions) -> FloatArray:
    """Return the chance-corrected similarity of rows to an item, shape (len(rows),)."""
    vectors = {}
    for vector in view.named_vectors:
        part = view.vectors(vector.name, np.array([item]))
        if part.present[0]:
            vectors[vector.name] = part.vectors[0]
    if not vectors:
        return np.zeros(len(rows), np.float32)
    shared = np.sum([view.present(name, rows) for name in vectors], axis=0)
    total = np.sum([*similarities(view, Query(vectors), rows).values()], axis=0)
    return np.asarray(total / np.maximum(shared, 1), np.float32)
