"""What a student changes for users: recommendation of new items by their contents alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.data.table_reader import open_sources
from isthmus.errors import InvalidInput, InvalidMapping
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import ITEM_ID, USER_ID

K: Final = 10
MOST_USERS: Final = 2_000
RESAMPLES: Final = 2_000

Rows = npt.NDArray[np.int64]
Liked = Mapping[str, Sequence[str]]
"""For each user the ids of the items that they liked."""


class Case(NamedTuple):
    """A user.

    Attributes
    ----------
    known : numpy.ndarray
        int64: contents that they liked, and that may be looked at.
    wanted : numpy.ndarray
        int64: contents held out that they liked, too.
    """

    known: Rows
    wanted: Rows


@dataclass(frozen=True)
class Recommendation:
    """How well contents recommend new items, by the teacher's vectors and by the student's.

    Attributes
    ----------
    users : int
        Users who liked something held out and something else, at most 2,000 of them.
    items : int
        Contents held out: what is ranked.
    ndcg_teacher, ndcg_student : float
        NDCG@10 of the order by the cosine with the mean vector of what the user liked.
    low, high : float
        95 % interval of the student's less the teacher's, users drawn anew.
    """

    users: int
    items: int
    ndcg_teacher: float
    ndcg_student: float
    low: float
    high: float

    @property
    def ndcg_kept(self) -> float | None:
        """The student's NDCG@10 divided by the teacher's; None where that finds nothing."""
        return self.ndcg_student / self.ndcg_teacher if self.ndcg_teacher else None

    def as_dict(self) -> dict[str, Any]:
        """Give all figures by name."""
        return {**asdict(self), "ndcg_kept": self.ndcg_kept}


def read_liked(interactions: Any) -> Liked:
    """Read what users liked: columns user_id and item_id, whatever else is there.

    Raises
    ------
    InvalidMapping
        If a column is absent.
    """
    liked: dict[str, list[str]] = {}
    for source in open_sources(interactions, [USER_ID, ITEM_ID]):
        for name in (USER_ID, ITEM_ID):
            if name not in source.schema.names:
                raise InvalidMapping(
                    f"{source.name} has no column {name!r}, only {', '.join(source.schema.names)}"
                )
        for batch in source.batches():
            users, items = (batch.column(name).to_pylist() for name in (USER_ID, ITEM_ID))
            for user, item in zip(users, items, strict=True):
                if user is not None and item is not None:
                    liked.setdefault(str(user), []).append(str(item))
    return liked


def find_users(liked: Liked, places: Mapping[str, int], held_out: Rows) -> list[Case]:
    """Part what each user liked into what may be looked at and what was held out.

    Parameters
    ----------
    liked : mapping of str to sequence of str
        Item ids of each user.
    places : mapping of str to int
        The content of each item.
    held_out : numpy.ndarray
        int64: contents held out.

    Raises
    ------
    InvalidInput
        If no user liked something of both.
    """
    found = []
    for items in liked.values():
        own = np.unique([places[item] for item in items if item in places]).astype(np.int64)
        out = np.isin(own, held_out)
        if out.any() and not out.all():
            found.append(Case(own[~out], own[out]))
    if not found:
        raise InvalidInput(
            "no user liked both an item that is held out and another of those given, so "
            "recommendation cannot be measured; give more interactions (their item_id are those "
            "of the contents)"
        )
    order = np.random.default_rng(0).permutation(len(found))[:MOST_USERS]
    return [found[at] for at in np.sort(order).tolist()]


def measure_recommendation(
    teacher: FloatArray, student: FloatArray, users: Sequence[Case], held_out: Rows
) -> Recommendation:
    """Rank the contents held out for each user, by the vectors of both.

    Parameters
    ----------
    teacher, student : numpy.ndarray
        float32, shape (n_contents, dim of each), rows of unit norm.
    users : sequence of Case
        For whom.
    held_out : numpy.ndarray
        int64: what is ranked.
    """
    scores = [_ndcg(vectors, users, held_out) for vectors in (teacher, student)]
    draws = np.random.default_rng(0).integers(0, len(users), (RESAMPLES, len(users)))
    low, high = np.percentile((scores[1] - scores[0])[draws].mean(axis=1), [2.5, 97.5])
    return Recommendation(
        users=len(users),
        items=len(held_out),
        ndcg_teacher=float(scores[0].mean()),
        ndcg_student=float(scores[1].mean()),
        low=float(low),
        high=float(high),
    )


def _ndcg(vectors: FloatArray, users: Sequence[Case], held_out: Rows) -> npt.NDArray[np.float64]:
    offered = vectors[held_out].T
    gains = 1 / np.log2(np.arange(2, K + 2))
    found = np.zeros(len(users))
    for at, user in enumerate(users):
        order = np.argsort(-(vectors[user.known].mean(axis=0) @ offered), kind="stable")[:K]
        hits = np.isin(held_out[order], user.wanted)
        found[at] = hits @ gains[: len(hits)] / gains[: min(K, len(user.wanted))].sum()
    return found
