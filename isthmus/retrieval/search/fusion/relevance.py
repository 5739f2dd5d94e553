"""What belongs to a query: told by pairs, by a label that items share, or by what users did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.table_reader import open_sources
from isthmus.errors import InvalidInput, InvalidMapping
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.examples import query_with_examples
from isthmus.retrieval.search.query import Query
from isthmus.schema import ITEM_ID, TEXT

LIKE: Final = "like"
ITEMS: Final = "item to item"
TEXTS: Final = "text to item"
MOST_QUERIES: Final = 1_000
MOST_PROBLEMS: Final = 100
NEIGHBOURS: Final = 10
COMMON_USERS: Final = 2

Drawn = TypeVar("Drawn")
EncodeTexts = Callable[[Sequence[str]], Sequence[Mapping[str, FloatArray]]]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query, and what belongs to it.

    Attributes
    ----------
    kind : str
        ``item to item`` or ``text to item``.
    query : Query
        What is looked for.
    wanted : numpy.ndarray
        int64: rows that belong to it; those that the query leaves out do not count.
    """

    kind: str
    query: Query
    wanted: Positions

    @property
    def count(self) -> int:
        """Number of rows that can be found."""
        return len(self.wanted) - int(np.isin(self.query.exclude, self.wanted).sum())


@dataclass
class Relevance:
    """Queries, and what could not be used.

    Attributes
    ----------
    asked : list of Asked
        The queries, at most 1,000, drawn from all.
    problems : list of str
        What was left out, by name, and why; at most 100.
    """

    asked: list[Asked] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def from_pairs(view: View, pairs: Any, encode: EncodeTexts) -> Relevance:
    """Take pairs of a query and an item that belongs to it.

    Parameters
    ----------
    view : View
        Where the items are.
    pairs : object
        Anything `isthmus.data.table_reader.open_sources` takes, with a column item_id and one of
        ``like`` (an item) and ``text``, or both.
    encode : callable
        Encodes texts into a unit vector for each block they speak to.

    Raises
    ------
    InvalidMapping
        If a column is absent.
    """
    found = Relevance()
    wanted: dict[tuple[str, str], list[str]] = {}
    for name, row in _rows(pairs):
        kind, key = (LIKE, row.get(LIKE)) if row.get(LIKE) else (TEXT, row.get(TEXT))
        if not isinstance(key, str) or not key.strip() or not row.get(ITEM_ID):
            _note(found, f"{name}: there is no {ITEM_ID}, or neither {LIKE} nor {TEXT}")
        else:
            wanted.setdefault((kind, key), []).append(str(row[ITEM_ID]))
    keys = _drawn(list(wanted))
    texts = [key for kind, key in keys if kind == TEXT]
    encoded = dict(zip(texts, encode(texts) if texts else (), strict=True))
    rows = {name: row for name, row in _places(view, keys, wanted).items() if row >= 0}
    for kind, key in keys:
        there = np.array([rows[n] for n in dict.fromkeys(wanted[kind, key]) if n in rows], np.int64)
        if kind == LIKE and key not in rows:
            _note(found, f"{LIKE} {key!r}: there is no such item")
        elif not len(there):
            _note(found, f"{kind} {key!r}: none of its items is there")
        elif kind == LIKE:
            _add(found, view, rows[key], there)
        else:
            found.asked.append(Asked(TEXTS, Query(encoded[key]), there))
    return found


def from_label(view: View, column: str) -> Relevance:
    """Let items belong together that have one value of an attribute.

    Raises
    ------
    InvalidInput
        If there is no such attribute.
    """
    if column not in view.snapshot.attributes.names:
        known = ", ".join(view.snapshot.attributes.names) or "none"
        raise InvalidInput(f"no attribute {column!r} in this space; its attributes are: {known}")
    rows = np.flatnonzero(view.living.rows)
    values = view.snapshot.fetch(view.row_ids(rows), [column]).column(column).to_pylist()
    groups: dict[Any, list[int]] = {}
    for row, value in zip(rows.tolist(), values, strict=True):
        if value is not None and value != "":
            groups.setdefault(str(value), []).append(row)
    found = Relevance()
    alike = [np.array(group, np.int64) for group in groups.values() if len(group) > 1]
    together = [(int(row), group) for group in alike for row in group]
    for row, group in _drawn(together):
        _add(found, view, row, group)  # the group is shared: there may be few, and large ones
    return found


def from_interactions(view: View, matrix: InteractionMatrix) -> Relevance:
    """Let items belong together that the same users liked: each to its ten nearest by users.

    Parameters
    ----------
    view : View
        Where the items are.
    matrix : InteractionMatrix
        Its columns are the rows of the view.
    """
    liked = matrix.liked.astype(np.float32).tocsc()
    users = np.asarray(liked.sum(axis=0)).ravel()
    found = Relevance()
    for row in _drawn(np.flatnonzero(users >= COMMON_USERS).tolist()):
        common = np.asarray((liked[:, [row]].T @ liked).todense()).ravel()
        common[row] = 0
        near = np.where(common >= COMMON_USERS, common / np.sqrt(users[row] * users + 1e-9), 0)
        best = np.argsort(-near, kind="stable")[:NEIGHBOURS]
        _add(found, view, row, best[near[best] > 0])
    return found


def _add(found: Relevance, view: View, row: int, wanted: Positions) -> None:
    """Add an item as a query, if something belongs to it."""
    query = query_with_examples(view, {}, np.array([row], np.int64), np.empty(0, np.int64))
    asked = Asked(ITEMS, query, wanted)
    if asked.count:
        found.asked.append(asked)


def _drawn(everything: list[Drawn]) -> list[Drawn]:
    """Draw some of many, in their order."""
    places = np.random.default_rng(0).permutation(len(everything))[:MOST_QUERIES]
    return [everything[at] for at in np.sort(places).tolist()]


def _places(
    view: View, keys: Iterable[tuple[str, str]], wanted: Mapping[tuple[str, str], list[str]]
) -> dict[str, int]:
    names: dict[str, None] = {}
    for kind, key in keys:
        names |= dict.fromkeys([*([key] if kind == LIKE else []), *wanted[kind, key]])
    return dict(zip(names, view.find(list(names)).tolist(), strict=True))


def _rows(pairs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for source in open_sources(pairs, [ITEM_ID, LIKE, TEXT]):
        names = source.schema.names
        if ITEM_ID not in names or not {LIKE, TEXT} & set(names):
            raise InvalidMapping(
                f"{source.name} has columns {', '.join(names)}; give {ITEM_ID}, what belongs to "
                f"a query, beside {LIKE}, an item, or {TEXT}"
            )
        row = 0
        for batch in source.batches():
            for values in batch.to_pylist():
                yield f"{source.name} row {row}", values
                row += 1


def _note(found: Relevance, problem: str) -> None:
    if len(found.problems) < MOST_PROBLEMS:
        found.problems.append(problem)
