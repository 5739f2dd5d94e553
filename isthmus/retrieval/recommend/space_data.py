"""The training data of a space: its items, with features from a view, and stored interactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.item_attributes import (
    item_texts,
    numeric_attribute_names,
    numeric_attributes,
)
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.search.examples import item_vectors
from isthmus.retrieval.search.query import Query, nearest

MAX_CACHED_ENTRIES = 4_000_000  # of eight bytes, over all lists
MAX_CACHED_KINDS = 32
MAX_SELECTIONS = 8
ROWS_PER_CHUNK = 16_384

Search = Callable[[Columns], tuple[Columns, FloatArray]]


class SearchScope(NamedTuple):
    """What a list of neighbours depends on, apart from the item and the length.

    Attributes
    ----------
    allowed : numpy.ndarray
        bool, shape (n_items,): the items that may be in it; read-only.
    search_scale : float
        See `ItemFeatures.nearest`.
    """

    allowed: Mask
    search_scale: float


class _Cached(NamedTuple):
    scope: SearchScope
    length: int
    lists: dict[int, tuple[npt.NDArray[np.int32], FloatArray]]


class NeighbourLists:
    """A cache of the neighbours of items: many users have an interest in the same item.

    Threads may share it.
    """

    def __init__(self) -> None:
        self._cached: dict[Any, _Cached] = {}

    def get(
        self, columns: Columns, n: int, scope: SearchScope, search: Search
    ) -> tuple[Columns, FloatArray]:
        """Return the list of each item; lists that are not cached are searched.

        Parameters
        ----------
        columns : numpy.ndarray
            int64, shape (n_lists,): the items.
        n : int
            Length of a list.
        scope : SearchScope
            What else the lists depend on.
        search : callable
            Returns the lists of some items, int64 and float32, shape (n_some, n).
        """
        cache = self._lists_of(n, scope)
        lists = [cache.get(column) for column in columns.tolist()]
        missing = [at for at, known in enumerate(lists) if known is None]
        if missing:
            searched, place = np.unique(columns[missing], return_inverse=True)
            items, cosines = search(searched)
            new = list(zip(items.astype(np.int32), cosines, strict=True))
            cache.update(zip(searched.tolist(), new, strict=True))
            for at, new_at in zip(missing, place.tolist(), strict=True):
                lists[at] = new[new_at]
        out = np.empty((len(columns), n), np.int64), np.empty((len(columns), n), np.float32)
        for at, known in enumerate(lists):
            if known is not None:
                out[0][at], out[1][at] = known
        return out

    def _lists_of(
        self, n: int, scope: SearchScope
    ) -> dict[int, tuple[npt.NDArray[np.int32], FloatArray]]:
        """Return the cached lists of a length and scope; a full cache is emptied."""
        entries = sum(cached.length * len(cached.lists) for cached in self._cached.values())
        if entries > MAX_CACHED_ENTRIES or len(self._cached) > MAX_CACHED_KINDS:
            self._cached = {}
        key = id(scope.allowed), scope.search_scale, n
        cached = self._cached.get(key)
        if cached is None or cached.scope.allowed is not scope.allowed:
            cached = self._cached[key] = _Cached(scope, n, {})
        return cached.lists


@dataclass(frozen=True, eq=False)
class ViewItemFeatures:
    """The features of items, read from a view: its named vectors side by side.

    Attributes
    ----------
    view : View
        Where the vectors are.
    rows : numpy.ndarray
        int64, shape (n_items,): row of each item; -1 for a deleted one.
    weights : mapping of str to float
        Weight of each named vector.
    vector_names : tuple of str
        The named vectors that are used.
    """

    view: View
    rows: Columns
    weights: Mapping[str, float]
    vector_names: tuple[str, ...]
    _selections: dict[int, tuple[Mask, Selection]] = field(default_factory=dict, repr=False)
    _neighbours: NeighbourLists = field(default_factory=NeighbourLists, repr=False)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return sum(vector.dim for vector in self._used)

    @cached_property
    def _used(self) -> list[NamedVector]:
        return [vector for vector in self.view.named_vectors if vector.name in self.vector_names]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def columns(self) -> Columns:
        """The item of each row, -1 where there is none, shape (n_rows,)."""
        out = np.full(int(self.view.living.rows.shape[0]), -1, np.int64)
        present = np.flatnonzero(self.rows >= 0)
        out[self.rows[present]] = present
        return out

    def take(self, columns: Columns) -> FloatArray:
        """Return the vectors of items, (n, dim), each part times the root of its weight."""
        if len(columns) <= ROWS_PER_CHUNK:
            return item_vectors(self.view, self.rows[columns], self.weights, self.vector_names)
        starts = range(0, len(columns), ROWS_PER_CHUNK)
        return np.concatenate([self.take(columns[at : at + ROWS_PER_CHUNK]) for at in starts])

    def texts(self, columns: Columns) -> list[str]:
        """Return the texts of items from the catalog; empty for a deleted item."""
        rows = self.rows[columns]
        out = [""] * len(columns)
        present = np.flatnonzero(rows >= 0)
        texts = item_texts(self.view.snapshot, self.view.row_ids(rows[present]))
        for at, text in zip(present.tolist(), texts, strict=True):
            out[at] = text
        return out

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers, times or truth values."""
        return numeric_attribute_names(self.view.snapshot)

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return numeric attributes from the catalog, (n, n_names); NaN for a deleted item."""
        rows = self.rows[columns]
        out = np.full((len(columns), len(names)), np.nan)
        present = np.flatnonzero(rows >= 0)
        out[present] = numeric_attributes(
            self.view.snapshot, self.view.row_ids(rows[present]), names
        )
        return out

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Search the index of the space, see `ItemFeatures.nearest`."""
        items = np.full((len(vectors), n), -1, np.int64)
        cosines = np.full((len(vectors), n), -1, np.float32)
        queries = [Query(self._split(vector)) for vector in vectors]
        non_empty = [at for at, query in enumerate(queries) if query.vectors]
        selection = self._selection(allowed)
        lists = nearest(
            self.view, [queries[at] for at in non_empty], n, selection, self.weights, search_scale
        )
        several = len(self.view.named_vectors) > 1
        for at, (rows, scores) in zip(non_empty, lists, strict=True):
            columns = self.columns[rows]
            if several:  # scores are normalised between named vectors, and no cosines
                scores = self.take(columns) @ vectors[at]
                order = np.argsort(-scores, kind="stable")
                columns, scores = columns[order], scores[order]
            items[at, : len(rows)], cosines[at, : len(rows)] = columns, scores
        return items, cosines

    def nearest_to_items(
        self, columns: Columns, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Search the index for neighbours of items, cached; see `ItemFeatures`."""
        if allowed.flags.writeable:  # its content may change, so nothing is cached by its id
            return self.nearest(self.take(columns), n, allowed, search_scale)

        def search(some: Columns) -> tuple[Columns, FloatArray]:
            return self.nearest(self.take(some), n, allowed, search_scale)

        return self._neighbours.get(columns, n, SearchScope(allowed, search_scale), search)

    def similarities(self, columns: Columns, item: int) -> list[dict[str, float]]:
        """Return the cosines of some items with one, for each named vector that both have."""
        out: list[dict[str, float]] = [{} for _ in columns]
        rows, row = self.rows[columns], self.rows[[item]]
        present = np.flatnonzero(rows >= 0)
        for vector in self._used:
            some = self.view.vectors(vector.name, rows[present])
            one = self.view.vectors(vector.name, row)
            if not one.present[0]:
                continue
            cosines = some.vectors @ one.vectors[0]
            for at, cosine in zip(present[some.present], cosines[some.present], strict=True):
                out[at][vector.name] = float(cosine)
        return out

    def part_of(self, name: str) -> slice:
        """Return where in a vector a named vector is."""
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, slice]:
        ends = np.cumsum([vector.dim for vector in self._used]).tolist()
        return {
            vector.name: slice(end - vector.dim, end)
            for vector, end in zip(self._used, ends, strict=True)
        }

    def remember(self, allowed: Mask, selection: Selection) -> None:
        """Cache the selection of a mask over the items."""
        if len(self._selections) >= MAX_SELECTIONS:
            self._selections.clear()
        self._selections[id(allowed)] = allowed, selection

    def _selection(self, allowed: Mask) -> Selection:
        cached = self._selections.get(id(allowed))
        if cached is not None and cached[0] is allowed:
            return cached[1]
        rows = np.zeros(len(self.columns), bool)
        chosen = self.rows[allowed]
        rows[chosen[chosen >= 0]] = True
        return self.view.select_mask(rows)

    def _split(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Split a vector into the named vectors that it has, each at unit length."""
        out = {}
        for name, part in self._parts.items():
            values = vector[part]
            norm = float(np.linalg.norm(values))
            if norm > 1e-6:
                out[name] = np.asarray(values / norm, np.float32)
        return out


def space_training_data(
    view: View,
    weights: Mapping[str, float],
    interactions: pa.Table,
    *,
    feedback: Feedback | None = None,
    users: pa.Table | None = None,
) -> TrainingData:
    """Make the training data of every item of a view.

    Parameters
    ----------
    view : View
        The items.
    weights : mapping of str to float
        Weight of each named vector.
    interactions : pyarrow.Table
        user_id, item_id, value, weight and time.
    feedback : Feedback, optional
        How events count, see `InteractionMatrix`.
    users : pyarrow.Table, optional
        Attributes of users: user_id, and a column for each.
    """
    matrix = space_interactions(view, interactions, feedback=feedback)
    rows = np.flatnonzero(view.living.rows)
    names = tuple(view.domains)
    return TrainingData(
        item_ids=view.item_ids(rows),
        domain_names=names,
        domains=codes_of(view.item_domains(rows), names),
        features=ViewItemFeatures(view, rows, weights, vectors_in_use(view)),
        interactions=matrix if users is None else matrix.with_attributes(users),
    )


def space_interactions(
    view: View, interactions: pa.Table, *, feedback: Feedback | None = None
) -> InteractionMatrix:
    """Make the matrix of users and the items of a view, with the columns of the training data."""
    living = view.living.rows
    # The last entry is the column of an item that is not found.
    columns = np.append(np.where(living, np.cumsum(living) - 1, -1), -1)

    def find(item_ids: Sequence[str]) -> Columns:
        return columns[view.find(item_ids)]

    n_items = int(living.sum())
    return InteractionMatrix.from_table(interactions, find, n_items, feedback=feedback)


def vectors_in_use(view: View) -> tuple[str, ...]:
    """Return the named vectors of encoders that some item has; all of them if no item has any.

    Vectors of an alignment are left out: what is learned from contents must outlive an alignment,
    which can be trained again at any time.
    """
    encoded = [vector for vector in view.named_vectors if not vector.alignment]
    used = tuple(
        vector.name
        for vector in encoded
        if any(len(segment.named_vectors[vector.name].rows) for segment in view.segments)
    )
    return used or tuple(vector.name for vector in encoded)


def codes_of(domains: npt.NDArray[Any], names: Sequence[str]) -> Columns:
    """Return the code of each domain, shape (n,), -1 for an unknown one."""
    encoded = pa.array(domains, pa.string()).dictionary_encode()
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place.get(name, -1) for name in encoded.dictionary.to_pylist()], np.int64)
    return codes[encoded.indices.to_numpy(zero_copy_only=False)] if len(encoded) else codes
