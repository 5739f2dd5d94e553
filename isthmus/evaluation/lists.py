"""Ranked lists: what systems answer, where they hold truth, and the metrics of lists themselves.

Metrics of lists (coverage, Gini, novelty, popularity, exposure, diversity) are at the first k
places of the lists of all users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.evaluation.task import Task, TestUser
from isthmus.numerics.arrays import Counts, FloatArray, Hits

CleanLists = Sequence[Sequence[str]]

GROUPS: Final = ("head", "mid", "tail")  # of candidates, by popularity
HEAD, TAIL = 0.2, 0.2  # their shares of all users of candidates

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
    generators : mapping of str to sequence of sequence of str
        The items of each candidate generator for each user, best first, where the system has some.
    """

    items: ItemLists
    scores: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    generators: Mapping[str, ItemLists] = field(default_factory=dict)


class Recommender(Protocol):
    """A system that ranks the candidates of a task."""

    def recommend(self, task: Task, n: int) -> Lists:
        """Return n items or more for each user, best first."""
        ...


class Rater(Protocol):
    """A system that predicts values."""

    def rate(self, task: Task) -> Sequence[npt.NDArray[np.floating[Any]]]:
        """Return for each user the predicted value of each item of the truth, in its order."""
        ...


def clean_lists(task: Task, items: ItemLists, n: int) -> list[list[str]]:
    """Drop items that are no candidates, excluded or duplicates, then keep the best n.

    Raises
    ------
    InvalidInput
        If the number of lists is not that of the users.
    """
    if len(items) != len(task.users):
        raise InvalidInput(
            f"{len(items)} lists for the {len(task.users)} users of task {task.name!r}; give one "
            "a user, in the order of the task, empty where there is nothing to say"
        )
    pairs = zip(task.users, items, strict=True)
    return [list(islice(_valid(task, user, listed), n)) for user, listed in pairs]


def _valid(task: Task, user: TestUser, items: Sequence[str] | npt.NDArray[Any]) -> Iterator[str]:
    seen = set(user.exclude)
    for item in items.tolist() if isinstance(items, np.ndarray) else items:
        if item in task.candidate_set and item not in seen:
            seen.add(item)
            yield item


def hit_matrix(items: ItemLists, truths: Sequence[Sequence[str]], n: int) -> Hits:
    """Return which places of the lists hold truth, bool, shape (n_users, n).

    Examples
    --------
    >>> hit_matrix([["a", "b", "c"], ["d"]], [["b"], ["d", "e"]], 3).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    hits = np.zeros((len(items), n), bool)
    for row, listed, truth in zip(hits, items, map(frozenset, truths), strict=True):
        row[: len(listed)] = [item in truth for item in listed[:n]]
    return hits


def truth_ranks(items: ItemLists, truths: Sequence[Sequence[str]]) -> list[Counts]:
    """Return for each user the rank of every item of the truth, from 1, and 0 where it is absent.

    Examples
    --------
    >>> [ranks.tolist() for ranks in truth_ranks([["a", "b"], []], [["b", "z"], ["a"]])]
    [[2, 0], [0]]
    """
    out = []
    for listed, truth in zip(items, truths, strict=True):
        ranks = {item: rank for rank, item in enumerate(listed, 1)}
        out.append(np.array([ranks.get(item, 0) for item in truth], np.int64))
    return out


@dataclass(frozen=True)
class ItemVectors:
    """Content vectors of items.

    Attributes
    ----------
    item_ids : sequence of str
        The items.
    vectors : numpy.ndarray
        float32, shape (n_items, dim); a row of zeros where an item has none.
    modalities : sequence of str, optional
        The modalities of each item, such as ``text`` or ``text and image``.
    """

    item_ids: Sequence[str]
    vectors: FloatArray
    modalities: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.item_ids) != len(self.vectors):
            raise InvalidInput(f"{len(self.item_ids)} items have {len(self.vectors)} vectors")

    @property
    def parts(self) -> tuple[Sequence[str], FloatArray]:
        """The items, and their vectors, shape (n_items, dim)."""
        return self.item_ids, self.vectors

    @cached_property
    def digest(self) -> str:
        """Digest of ids, vectors and modalities: equal for equal ones, in hexadecimal."""
        vectors = np.ascontiguousarray(self.vectors, np.float32)
        named = repr((list(self.item_ids), list(self.modalities)))
        return digest(digest(vectors.data) + digest(named)).hex()

    @cached_property
    def modalities_of(self) -> dict[str, str]:
        """The modalities of each item, where they are known."""
        return dict(zip(self.item_ids, self.modalities, strict=False))


def coverage(lists: CleanLists, candidates: int, k: int) -> float:
    """Return the share of the candidates that are in any list.

    Examples
    --------
    >>> coverage([["a", "b"], ["b", "c"]], 4, 2)
    0.75
    """
    return len({item for items in lists for item in items[:k]}) / candidates


def gini(lists: CleanLists, candidates: int, k: int) -> float:
    """Return the Gini coefficient of how often each candidate is listed: 0 equal, 1 unequal.

    ``sum_i (2 i - n - 1) x_i / (n sum x)`` over the counts x in ascending order.

    Examples
    --------
    >>> gini([["a"], ["b"]], 2, 1), gini([["a"], ["a"]], 4, 1)
    (0.0, 0.75)
    """
    listed = Counter(item for items in lists for item in items[:k])
    if not listed:
        return 0.0
    counts = np.zeros(candidates)
    counts[candidates - len(listed) :] = sorted(listed.values())
    weights = 2 * np.arange(1, candidates + 1) - candidates - 1
    return float(weights @ counts / (candidates * counts.sum()))


def novelty(lists: CleanLists, popularity: Mapping[str, int], users: int, k: int) -> float | None:
    """Return the mean self-information of the listed items, in bits; None if all lists are empty.

    ``-log2((u_i + 1) / (U + 1))`` of an item with u_i of U users (Zhou et al., PNAS 2010; one is
    added so that items without users have a finite value).

    Examples
    --------
    >>> novelty([["hit"], ["rare"]], {"hit": 7}, 7, 1)
    1.5
    """
    n_users = [popularity.get(item, 0) for items in lists for item in items[:k]]
    return float(-np.log2((np.array(n_users) + 1) / (users + 1)).mean()) if n_users else None


def shown_popularity(lists: CleanLists, popularity: Mapping[str, int], k: int) -> float | None:
    """Return the mean number of users of the listed items; None if all lists are empty.

    Abdollahpouri et al., "The Unfairness of Popularity Bias in Recommendation", 2019.

    Examples
    --------
    >>> shown_popularity([["hit"], ["rare"]], {"hit": 7}, 1)
    3.5
    """
    n_users = [popularity.get(item, 0) for items in lists for item in items[:k]]
    return float(np.mean(n_users)) if n_users else None


def exposure(
    lists: CleanLists, popularity: Mapping[str, int], candidates: Sequence[str], k: int
) -> dict[str, float | None]:
    """Return the share of the listed places that the head, the middle and the tail have.

    By number of users, the head are the most popular candidates that have a fifth of all users of
    candidates, the tail the least popular ones that have the last fifth (Abdollahpouri et al.,
    UMAP 2021). Candidates with equal numbers of users are in one group, the more popular one.

    Returns
    -------
    dict of str to float or None
        For ``head``, ``mid`` and ``tail``; None where all lists are empty, or nobody uses a
        candidate.

    Examples
    --------
    >>> exposure([["a", "b"], ["a", "d"]], {"a": 4, "b": 3, "c": 2, "d": 1}, "abcd", 2)
    {'head': 0.5, 'mid': 0.25, 'tail': 0.25}
    """
    counts = sorted((popularity.get(item, 0) for item in candidates), reverse=True)
    total, above = sum(counts), 0
    group_of: dict[int, int] = {}  # of a number of users
    for count in counts:
        group_of.setdefault(count, int(above >= HEAD * total) + int(above >= (1 - TAIL) * total))
        above += count
    groups = [group_of[popularity.get(item, 0)] for items in lists for item in items[:k]]
    if not groups or not total:
        return dict.fromkeys(GROUPS)
    shares = np.bincount(groups, minlength=len(GROUPS)) / len(groups)
    return dict(zip(GROUPS, shares.tolist(), strict=True))


def diversity(lists: CleanLists, items: ItemVectors, k: int) -> float | None:
    """Return the mean over users of 1 minus the mean cosine of the pairs of a list.

    Items without a vector are skipped, and lists with fewer than two others (Ziegler et al., WWW
    2005). With m unit vectors, the pairs' cosines sum to ``(|sum v|^2 - m) / 2``.

    Examples
    --------
    >>> items = ItemVectors(["a", "b", "c"], np.array([[2, 0], [0, 3], [1, 0]], np.float32))
    >>> diversity([["a", "b"], ["a", "c"]], items, 2)
    0.5
    """
    row_of = {item: row for row, item in enumerate(items.item_ids)}
    norms = np.linalg.norm(items.vectors, axis=1)
    values = []
    for listed in lists:
        rows = [row_of[item] for item in listed[:k] if item in row_of and norms[row_of[item]] > 0]
        m = len(rows)
        if m > 1:
            total = (items.vectors[rows] / norms[rows, None]).sum(axis=0, dtype=np.float64)
            values.append(1 - (total @ total - m) / (m * (m - 1)))
    return float(np.mean(values)) if values else None


def list_metrics(
    task: Task, lists: CleanLists, k: int, items: ItemVectors | None
) -> dict[str, float | None]:
    """Return all metrics of lists at k, named like ``coverage@10``; diversity only with vectors."""
    n = len(task.candidates)
    out: dict[str, float | None] = {
        f"coverage@{k}": coverage(lists, n, k),
        f"gini@{k}": gini(lists, n, k),
        f"novelty@{k}": novelty(lists, task.popularity, task.train_users, k),
        f"popularity@{k}": shown_popularity(lists, task.popularity, k),
    }
    shares = exposure(lists, task.popularity, task.candidates, k)
    out |= {f"{group}@{k}": share for group, share in shares.items()}
    if items is not None:
        out[f"diversity@{k}"] = diversity(lists, items, k)
    return out
