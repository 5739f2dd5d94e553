"""Queries with their relevant items, to learn fusion weights from.

Relevant is what a file of pairs says, what shares a label, or what the same users liked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from isthmus.data.inputs import open_typed
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.errors import InvalidMapping, listed
from isthmus.index.catalog.item_attributes import attribute_values
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.examples import query_with_examples
from isthmus.retrieval.search.query import Query
from isthmus.schema import ITEM_ID, TEXT

LIKE: Final = "like"
ITEM_TO_ITEM: Final = "item to item"
TEXT_TO_ITEM: Final = "text to item"
MAX_QUERIES: Final = 1_000
MAX_PROBLEMS: Final = 100
NEIGHBOURS: Final = 10
MIN_COMMON_USERS: Final = 2

_Sampled = TypeVar("_Sampled")
EncodeTexts = Callable[[Sequence[str]], Sequence[Mapping[str, FloatArray]]]


@dataclass(frozen=True, eq=False)
class JudgedQuery:
    """A query, and the items that are relevant to it.

    Attributes
    ----------
    kind : str
        ``item to item`` or ``text to item``.
    query : Query
        The query.
    relevant : numpy.ndarray
        int64: rows of relevant items; those that the query excludes do not count.
    """

    kind: str
    query: Query
    relevant: Positions

    @property
    def n_relevant(self) -> int:
        """Number of rows that a search can return."""
        return len(self.relevant) - int(np.isin(self.query.exclude, self.relevant).sum())


@dataclass
class Relevance:
    """Judged queries, and what could not be used.

    Attributes
    ----------
    queries : list of JudgedQuery
        A sample of at most 1,000.
    problems : list of str
        What was left out, by name, and why; at most 100.
    """

    queries: list[JudgedQuery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Note what was left out, and why."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def add_item(self, view: View, row: int, relevant: Positions) -> None:
        """Add an item as a query, if any other item is relevant to it."""
        query = query_with_examples(view, {}, np.array([row], np.int64), np.empty(0, np.int64))
        judged = JudgedQuery(ITEM_TO_ITEM, query, relevant)
        if judged.n_relevant:
            self.queries.append(judged)


def from_pairs(view: View, pairs: Any, encode: EncodeTexts) -> Relevance:
    """Read pairs of a query and a relevant item.

    Parameters
    ----------
    view : View
        The searchable items.
    pairs : object
        Anything `isthmus.data.inputs.open_sources` takes, with a column item_id and one of
        ``like`` (an item) and ``text``, or both.
    encode : callable
        Encodes texts into a unit vector for each named vector that a text has.

    Raises
    ------
    InvalidMapping
        If a column is absent.
    """
    relevance = Relevance()
    relevant_ids: dict[tuple[str, str], list[str]] = {}
    for name, row in _read_pairs(pairs):
        kind, key = (LIKE, row.get(LIKE)) if row.get(LIKE) else (TEXT, row.get(TEXT))
        if not isinstance(key, str) or not key.strip() or not row.get(ITEM_ID):
            relevance.note(f"{name}: there is no {ITEM_ID}, or neither {LIKE} nor {TEXT}")
        else:
            relevant_ids.setdefault((kind, key), []).append(str(row[ITEM_ID]))
    keys = _sample(list(relevant_ids))
    texts = [key for kind, key in keys if kind == TEXT]
    encoded = dict(zip(texts, encode(texts) if texts else (), strict=True))
    rows = _rows_by_id(view, keys, relevant_ids)
    for kind, key in keys:
        item_ids = dict.fromkeys(relevant_ids[kind, key])
        relevant = np.array([rows[item_id] for item_id in item_ids if item_id in rows], np.int64)
        if kind == LIKE and key not in rows:
            relevance.note(f"{LIKE} {key!r}: there is no such item")
        elif not len(relevant):
            relevance.note(f"{kind} {key!r}: none of its items is there")
        elif kind == LIKE:
            relevance.add_item(view, rows[key], relevant)
        else:
            relevance.queries.append(JudgedQuery(TEXT_TO_ITEM, Query(encoded[key]), relevant))
    return relevance


def from_label(view: View, column: str) -> Relevance:
    """Take items with the same value of an attribute as relevant to each other.

    Raises
    ------
    InvalidInput
        If there is no such attribute.
    """
    rows = np.flatnonzero(view.living.rows)
    values = attribute_values(view.snapshot, view.row_ids(rows), column)
    by_value: dict[Any, list[int]] = {}
    for row, value in zip(rows.tolist(), values, strict=True):
        if value is not None and value != "":
            by_value.setdefault(str(value), []).append(row)
    relevance = Relevance()
    groups = [np.array(group, np.int64) for group in by_value.values() if len(group) > 1]
    # All queries of a group share its array: groups may be few, and large.
    queries = [(int(row), group) for group in groups for row in group]
    for row, relevant in _sample(queries):
        relevance.add_item(view, row, relevant)
    return relevance


def from_interactions(view: View, matrix: InteractionMatrix) -> Relevance:
    """Take as relevant to an item its ten nearest by the users who liked both.

    Parameters
    ----------
    view : View
        The searchable items.
    matrix : InteractionMatrix
        Its columns are the rows of the view.
    """
    liked = matrix.liked.astype(np.float32).tocsc()
    n_users = np.asarray(liked.sum(axis=0)).ravel()
    relevance = Relevance()
    for row in _sample(np.flatnonzero(n_users >= MIN_COMMON_USERS).tolist()):
        common = np.asarray((liked[:, [row]].T @ liked).todense()).ravel()  # (n_items,)
        common[row] = 0
        cosines = common / np.sqrt(n_users[row] * n_users + 1e-9)
        cosines = np.where(common >= MIN_COMMON_USERS, cosines, 0)
        nearest = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
        relevance.add_item(view, row, nearest[cosines[nearest] > 0])
    return relevance


def _sample(population: list[_Sampled]) -> list[_Sampled]:
    """Sample at most 1,000, and keep their order."""
    places = np.random.default_rng(0).permutation(len(population))[:MAX_QUERIES]
    return [population[at] for at in np.sort(places).tolist()]


def _rows_by_id(
    view: View, keys: Iterable[tuple[str, str]], relevant_ids: Mapping[tuple[str, str], list[str]]
) -> dict[str, int]:
    """Return the row of each item of the pairs that exists."""
    names: dict[str, None] = {}
    for kind, key in keys:
        names |= dict.fromkeys([*([key] if kind == LIKE else []), *relevant_ids[kind, key]])
    rows = view.find(list(names)).tolist()
    return {name: row for name, row in zip(names, rows, strict=True) if row >= 0}


def _read_pairs(pairs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for source in open_typed(pairs, [ITEM_ID, LIKE, TEXT]):
        names = source.schema.names
        if ITEM_ID not in names or not {LIKE, TEXT} & set(names):
            raise InvalidMapping(
                f"{source.name} has columns {listed(names)}; give {ITEM_ID}, what belongs to "
                f"a query, beside {LIKE}, an item, or {TEXT}"
            )
        row = 0
        for batch in source.batches():
            for values in batch.to_pylist():
                yield f"{source.name} row {row}", values
                row += 1
