"""Situations: how much is known of a user in the target domain and in others.

What orders items well differs between them, so each has its own training examples, ranker model,
calibration and release check.
"""

from __future__ import annotations

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import lengths_of, starts_of
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

UNKNOWN = "unknown"
CROSS_DOMAIN = "cross-domain"
FEW = "few"
MORE = "more"
NEW_ITEMS = "new items"

USER_SITUATIONS = (UNKNOWN, CROSS_DOMAIN, FEW, MORE)
SITUATIONS = (*USER_SITUATIONS, NEW_ITEMS)
DESCRIPTIONS = {
    UNKNOWN: "nothing known",
    CROSS_DOMAIN: "known in other domains only",
    FEW: "1 to 5 known",
    MORE: "more known",
    NEW_ITEMS: "new items",
}
MAX_FEW = 5
SHOWN_SHARE = 0.8  # of the liked items of simulated users of whom more is known
BLENDED = (3, 10)  # liked items in the domain between which "few" passes into "more"


def situation_weights(histories: UserHistories, data: TrainingData, target: int) -> FloatArray:
    """Return how far each user is in each situation, float32, shape (n_users, 4).

    A row sums to 1; columns are `USER_SITUATIONS`. A user with 3 liked items of the domain or
    fewer is wholly in `FEW`, with 10 or more wholly in `MORE`; between, the weights change with
    the logarithm of the number, so that a click never swaps one model for another.
    """
    liked = histories.weights > 0
    inside = data.domains[histories.columns] == target
    n = len(histories)
    in_domain = np.bincount(histories.owners, liked & inside, n)
    in_others = np.bincount(histories.owners, liked & ~inside, n)
    low, high = np.log(BLENDED)
    more = np.clip((np.log(np.maximum(in_domain, 1)) - low) / (high - low), 0, 1)
    out = np.zeros((n, len(USER_SITUATIONS)), np.float32)
    out[:, 0] = (in_domain == 0) & (in_others == 0)
    out[:, 1] = (in_domain == 0) & (in_others > 0)
    out[:, 2] = np.where(in_domain > 0, 1 - more, 0)
    out[:, 3] = np.where(in_domain > 0, more, 0)
    return out


def all_new(unused: Mask, starts: Columns) -> Mask:
    """Return which users have new items as candidates and nothing else, shape (n_users,)."""
    n = lengths_of(starts)
    counts = starts_of(unused)
    return np.asarray((n > 0) & (counts[starts[1:]] - counts[starts[:-1]] == n))
