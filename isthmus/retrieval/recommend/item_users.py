"""Which users to tell about an item: those whose histories hold what goes with it.

The item stands for a user who likes nothing else. What the candidate generators retrieve for that
user, in every domain, are its related items, each with a weight. A user's score is the sum of the
weights of the related items that the user liked, over a power of the length of the history, so
that who has tried everything does not come first everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import default_weight
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.schema import EVENT, ITEM_ID, USER_ID

RELATED: Final = 200  # items of each domain and generator
LENGTH_POWER: Final = 0.25
MIN_LIKELY, LIKELY_A_PLACE = 1_000, 5  # users whose histories are read
# Generators that compare items; the others score what is popular, or users by what they are.
COMPARING: Final = (
    "item-KNN",
    "EASE",
    "ALS",
    "content-smoothed item-KNN",
    "content",
    "TF-IDF overlap",
)


class RelatedItems(NamedTuple):
    """The items that go with an item.

    Attributes
    ----------
    columns : numpy.ndarray
        int64, shape (n,): ascending.
    weights : numpy.ndarray
        float32, shape (n,): above 0, at most 1.
    """

    columns: Columns
    weights: FloatArray


def related_items(
    generators: CandidateGenerators, data: TrainingData, column: int, allowed: Mask
) -> RelatedItems:
    """Return the items that go with an item, in all domains.

    The weight is the mean, over the generators that compare items, of the score over the largest
    score of the generator.

    Parameters
    ----------
    generators : CandidateGenerators
        Fitted to the first items of the data.
    data : TrainingData
        The items.
    column : int
        The item.
    allowed : numpy.ndarray
        bool, shape (n_items,): the items that are there.
    """
    liking = UserHistories.from_lists([np.array([column], np.int64)])
    columns, parts = [np.empty(0, np.int64)], [np.empty((0, 0), np.float32)]
    for target in range(len(data.domain_names)):
        scorers = {
            name: scorer
            for name, scorer in generators.scorers(data, liking, target).items()
            if name in COMPARING
        }
        pool = candidate_pool(
            scorers, RELATED, allowed & data.in_domain(target), liking.seen(len(data))
        )
        columns.append(pool.items)
        parts.append(np.maximum(pool.scores, 0))
    scores = np.concatenate(parts[1:], axis=1)  # (n_generators, n)
    largest = scores.max(axis=1, initial=0, keepdims=True)
    weights = (scores / np.maximum(largest, 1e-12)).mean(axis=0)
    return _ordered(np.concatenate(columns), weights.astype(np.float32))


def related_by_rank(columns: Columns) -> RelatedItems:
    """Return items of a list, best first, with the weight 1 / rank."""
    return _ordered(columns, (1 / np.arange(1, len(columns) + 1)).astype(np.float32))


def _ordered(columns: Columns, weights: FloatArray) -> RelatedItems:
    order = np.argsort(columns)
    order = order[weights[order] > 0]
    return RelatedItems(columns[order], weights[order])


def score_users(
    histories: SparseRows, related: RelatedItems, length_power: float = LENGTH_POWER
) -> FloatArray:
    """Return the score of each user, float32, shape (n_users,).

    Parameters
    ----------
    histories : SparseRows
        What each user liked, and how much; columns ascending.
    related : RelatedItems
        What goes with the item.
    length_power : float
        Power of the summed squares of a history that a score is divided by.
    """
    owners = np.repeat(np.arange(len(histories.starts) - 1), np.diff(histories.starts))
    at = np.searchsorted(related.columns, histories.columns)
    there = at < len(related.columns)
    there[there] = related.columns[at[there]] == histories.columns[there]
    found = np.zeros(len(histories.columns), np.float64)
    found[there] = related.weights[at[there]] * histories.values[there]
    n_users = len(histories.starts) - 1
    lengths = np.bincount(owners, np.square(histories.values, dtype=np.float64), n_users)
    scores = np.bincount(owners, found, n_users) / np.maximum(lengths, 1e-12) ** length_power
    return np.asarray(scores, np.float32)


def likely_users(events: pa.Table, weights: Mapping[str, float]) -> list[str]:
    """Return the users of events, by the weights of the items that they used, most first.

    Parameters
    ----------
    events : pyarrow.Table
        user_id, item_id and event; events that do not count as positive are passed over.
    weights : mapping of str to float
        Weight of each related item.
    """
    kinds = [
        kind for kind in pc.unique(events.column(EVENT)).to_pylist() if default_weight(kind) > 0
    ]
    used = pc.is_in(events.column(EVENT), value_set=pa.array(kinds, pa.string()))
    pairs = events.filter(used).group_by([USER_ID, ITEM_ID]).aggregate([])
    names = pairs.column(ITEM_ID).to_pylist()
    scored = pa.table(
        {USER_ID: pairs.column(USER_ID), "weight": [weights.get(name, 0.0) for name in names]}
    )
    sums = scored.group_by(USER_ID).aggregate([("weight", "sum")])
    order = sums.sort_by([("weight_sum", "descending"), (USER_ID, "ascending")])
    users: list[str] = order.column(USER_ID).to_pylist()
    return users


def histories_of(likes: Mapping[str, Mapping[int, float]]) -> SparseRows:
    """Return histories as rows, those of a mapping of column to strength for each user."""
    columns = [np.array(sorted(of_user), np.int64) for of_user in likes.values()]
    values = [
        np.array([of_user[at] for at in of.tolist()], np.float32)
        for of, of_user in zip(columns, likes.values(), strict=True)
    ]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in columns], dtype=np.int64)])
    empty = np.empty(0, np.int64)
    return SparseRows(
        starts.astype(np.int64),
        np.concatenate([empty, *columns]),
        np.concatenate([empty.astype(np.float32), *values]).astype(np.float32),
    )
