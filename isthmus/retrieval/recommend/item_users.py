"""Which users to tell about an item: those whose histories hold what goes with it.

The item stands for a user who likes nothing else. What a candidate generator retrieves for that
user, in every domain, are its related items, each with a weight. By one generator, a user's score
is the sum of the weights of the related items that the user liked, over a power of the length of
the history, so that who has tried everything does not come first everywhere. The score is the mean
over the generators that compare items, by interactions or by content, each relative to its best
user: which of them is best differs from catalogue to catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
MIN_SCORE: Final = 1e-12
MIN_LIKELY, LIKELY_A_PLACE = 1_000, 5  # users whose histories are read
# The other generators score what is popular, or users by what they are.
COMPARING: Final = ("EASE", "ALS", "item-KNN", "TF-IDF overlap", "content")


class RelatedItems(NamedTuple):
    """The items that go with an item.

    Attributes
    ----------
    columns : numpy.ndarray
        int64, shape (n,): ascending.
    weights : numpy.ndarray
        float32, shape (n_generators, n): at least 0.
    """

    columns: Columns
    weights: FloatArray

    @property
    def mean_weights(self) -> FloatArray:
        """The mean over the generators of weights relative to the largest, shape (n,)."""
        largest = self.weights.max(axis=1, initial=0, keepdims=True)
        relative = self.weights / np.maximum(largest, MIN_SCORE)
        return np.asarray(relative.mean(axis=0), np.float32)


def related_items(
    generators: CandidateGenerators,
    data: TrainingData,
    column: int,
    allowed: Mask,
    names: Sequence[str] = COMPARING,
) -> RelatedItems:
    """Return the items that go with an item, in all domains.

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
    names : sequence of str
        The generators.
    """
    liking = UserHistories.from_lists([np.array([column], np.int64)])
    columns, parts = [], []
    for target in range(len(data.domain_names)):
        scorers = {
            generator.name: generator.scorer(data, liking, target)
            for generator in generators
            if generator.name in names
        }
        seen = liking.seen(len(data))
        pool = candidate_pool(scorers, RELATED, allowed & data.in_domain(target), seen)
        columns.append(pool.items)
        parts.append(np.maximum(pool.scores, 0))
    return _ordered(np.concatenate(columns), np.concatenate(parts, axis=1))


def related_by_rank(columns: Columns) -> RelatedItems:
    """Return items of a list, best first, with the weight 1 / rank."""
    return _ordered(columns, (1 / np.arange(1, len(columns) + 1)).astype(np.float32)[None])


def _ordered(columns: Columns, weights: FloatArray) -> RelatedItems:
    order = np.argsort(columns)
    order = order[weights[:, order].max(axis=0, initial=0) > 0]
    return RelatedItems(columns[order], weights[:, order])


def score_users(
    histories: SparseRows, related: RelatedItems, length_power: float = LENGTH_POWER
) -> FloatArray:
    """Return the score of each user, at most 1, float32, shape (n_users,).

    Parameters
    ----------
    histories : SparseRows
        What each user liked, and how much; columns ascending.
    related : RelatedItems
        What goes with the item.
    length_power : float
        Power of the summed squares of a history that a score is divided by.
    """
    n_users = len(histories.starts) - 1
    owners = np.repeat(np.arange(n_users), np.diff(histories.starts))
    at = np.searchsorted(related.columns, histories.columns)
    there = at < len(related.columns)
    there[there] = related.columns[at[there]] == histories.columns[there]
    values = np.asarray(histories.values, np.float64)
    lengths = np.bincount(owners, values**2, n_users)
    norms = np.maximum(lengths, MIN_SCORE) ** length_power
    scores = np.zeros(n_users)
    for weights in related.weights:
        found = np.bincount(owners[there], weights[at[there]] * values[there], n_users) / norms
        scores += found / max(float(found.max(initial=0)), MIN_SCORE)
    return np.asarray(scores / max(len(related.weights), 1), np.float32)


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
