"""What systems answer, and what of it counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.evaluation.task import Task, TestUser
from isthmus.numerics.arrays import Counts, Hits

ItemLists = Sequence[Sequence[str] | npt.NDArray[Any]]


@dataclass(frozen=True)
class Lists:
    """The answer of a system to a task.

    Attributes
    ----------
    items : sequence of sequence of str
        For each user of the task, in its order: item ids, best first.
    scores : sequence of numpy.ndarray, optional
        The score of each of these items.
    sources : mapping of str to sequence of sequence of str
        What each source of candidates gave for each user, best first, where the system has some.
    """

    items: ItemLists
    scores: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    sources: Mapping[str, ItemLists] = field(default_factory=dict)


class Recommender(Protocol):
    """Whatever ranks the candidates of a task."""

    def recommend(self, task: Task, n: int) -> Lists:
        """Give n items or more for each user, best first."""
        ...


class Rater(Protocol):
    """Whatever predicts values."""

    def rate(self, task: Task) -> Sequence[npt.NDArray[np.floating[Any]]]:
        """Give for each user the value predicted for each item of the truth, in its order."""
        ...


def clean_lists(task: Task, items: ItemLists, n: int) -> list[list[str]]:
    """Drop what is no candidate, is excluded or came before, then keep the best n.

    Raises
    ------
    InvalidInput
        If there is not one list a user.
    """
    if len(items) != len(task.users):
        raise InvalidInput(
            f"{len(items)} lists for the {len(task.users)} users of task {task.name!r}; give one "
            "a user, in the order of the task, empty where there is nothing to say"
        )
    pairs = zip(task.users, items, strict=True)
    return [list(_first(_valid(task, user, found), n)) for user, found in pairs]


def _valid(task: Task, user: TestUser, items: Sequence[str] | npt.NDArray[Any]) -> Iterator[str]:
    seen = set(user.exclude)
    for item in items.tolist() if isinstance(items, np.ndarray) else items:
        if item in task.candidate_set and item not in seen:
            seen.add(item)
            yield item


def _first(items: Iterable[str], n: int) -> Iterator[str]:
    for _, item in zip(range(n), items, strict=False):
        yield item


def hit_matrix(items: ItemLists, truths: Sequence[Sequence[str]], n: int) -> Hits:
    """Tell which places of the lists hold truth, shape (n_users, n).

    Examples
    --------
    >>> hit_matrix([["a", "b", "c"], ["d"]], [["b"], ["d", "e"]], 3).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    hits = np.zeros((len(items), n), bool)
    for row, found, truth in zip(hits, items, map(frozenset, truths), strict=True):
        row[: len(found)] = [item in truth for item in found[:n]]
    return hits


def truth_ranks(items: ItemLists, truths: Sequence[Sequence[str]]) -> list[Counts]:
    """Give for each user the rank of every item of the truth, from 1, and 0 where it is absent.

    Examples
    --------
    >>> [ranks.tolist() for ranks in truth_ranks([["a", "b"], []], [["b", "z"], ["a"]])]
    [[2, 0], [0]]
    """
    out = []
    for found, truth in zip(items, truths, strict=True):
        places = {item: rank for rank, item in enumerate(found, 1)}
        out.append(np.array([places.get(item, 0) for item in truth], np.int64))
    return out
