"""The corpus of a space: its items as they are now, and the interactions that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
from isthmus.retrieval.search.query import Query, search_top_k

if TYPE_CHECKING:
    from collections.abc import Sequence
from collections.abc import Callable
from typing import NamedTuple

KEPT_ENTRIES = 4_000_000  # of eight bytes, over all lists
KEPT_KINDS = 32
Search = Callable[[Columns], tuple[Columns, FloatArray]]

ROWS_AT_ONCE = 16_384
SELECTIONS = 8


class Among(NamedTuple):
    """What a list depends on beside the item and its length.

    Attributes
    ----------
    allowed : numpy.ndarray
        bool, shape (n_items,): what may be in it; not written to.
    search_scale : float
        See `ItemFeatures.nearest`.
    """

    allowed: Mask
    search_scale: float


class _Kept(NamedTuple):
    among: Among
    length: int
    lists: dict[int, tuple[npt.NDArray[np.int32], FloatArray]]


class NearLists:
    """The lists that were asked for lately; threads may share it."""

    def __init__(self) -> None:
        self._kept: dict[Any, _Kept] = {}

    def get(
        self, columns: Columns, n: int, among: Among, search: Search
    ) -> tuple[Columns, FloatArray]:
        """Give a list for each item, searching for those that are not known.

        Parameters
        ----------
        columns : numpy.ndarray
            int64, shape (n_lists,): the items.
        n : int
            Length of a list.
        among : Among
            What else it depends on.
        search : callable
            Gives the lists of some items, int64 and float32, shape (n_some, n).
        """
        lists = self._lists_of(n, among)
        found = [lists.get(column) for column in columns.tolist()]
        missing = [at for at, known in enumerate(found) if known is None]
        if missing:
            asked, place = np.unique(columns[missing], return_inverse=True)
            items, cosines = search(asked)
            made = list(zip(items.astype(np.int32), cosines, strict=True))
            lists.update(zip(asked.tolist(), made, strict=True))
            for at, own in zip(missing, place.tolist(), strict=True):
                found[at] = made[own]
        out = np.empty((len(columns), n), np.int64), np.empty((len(columns), n), np.float32)
        for at, own in enumerate(found):
            if own is not None:
                out[0][at], out[1][at] = own
        return out

    def _lists_of(
        self, n: int, among: Among
    ) -> dict[int, tuple[npt.NDArray[np.int32], FloatArray]]:
        """Give the lists of a kind; all are forgotten once they are many."""
        entries = sum(own.length * len(own.lists) for own in self._kept.values())
        if entries > KEPT_ENTRIES or len(self._kept) > KEPT_KINDS:
            self._kept = {}
        key = id(among.allowed), among.search_scale, n
        kept = self._kept.get(key)
        if kept is None or kept.among.allowed is not among.allowed:
            kept = self._kept[key] = _Kept(among, n, {})
        return kept.lists


@dataclass(frozen=True, eq=False)
class ViewContents:
    """The contents of items, out of a view: its named vectors side by side.

    Attributes
    ----------
    view : View
        Where the vectors are.
    rows : numpy.ndarray
        int64, shape (n_items,): the row of each item; -1 for one that is gone.
    weights : mapping of str to float
        Weight of each named vector.
    vector_names : tuple of str
        The named vectors that are looked at.
    """

    view: View
    rows: Columns
    weights: Mapping[str, float]
    vector_names: tuple[str, ...]
    _selections: dict[int, tuple[Mask, Selection]] = field(default_factory=dict, repr=False)
    _near: NearLists = field(default_factory=NearLists, repr=False)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return sum(named_vector.dim for named_vector in self._chosen)

    @cached_property
    def _chosen(self) -> list[NamedVector]:
        return [
            named_vector
            for named_vector in self.view.named_vectors
            if named_vector.name in self.vector_names
        ]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def columns(self) -> Columns:
        """The item of each row, -1 where it is none, shape (n_rows,)."""
        out = np.full(int(self.view.living.rows.shape[0]), -1, np.int64)
        there = np.flatnonzero(self.rows >= 0)
        out[self.rows[there]] = there
        return out

    def take(self, columns: Columns) -> FloatArray:
        """Give the vectors of items, each named vector weighing by the root of its weight."""
        if len(columns) <= ROWS_AT_ONCE:
            return item_vectors(self.view, self.rows[columns], self.weights, self.vector_names)
        parts = range(0, len(columns), ROWS_AT_ONCE)
        return np.concatenate([self.take(columns[at : at + ROWS_AT_ONCE]) for at in parts])

    def texts(self, columns: Columns) -> list[str]:
        """Read what is written of items in the catalog; nothing of one that is gone."""
        rows = self.rows[columns]
        out = [""] * len(columns)
        there = np.flatnonzero(rows >= 0)
        found = item_texts(self.view.snapshot, self.view.row_ids(rows[there]))
        for at, text in zip(there.tolist(), found, strict=True):
            out[at] = text
        return out

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers, moments or truth values."""
        return numeric_attribute_names(self.view.snapshot)

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Read attributes in the catalog; not a number for an item that is gone."""
        rows = self.rows[columns]
        out = np.full((len(columns), len(names)), np.nan)
        there = np.flatnonzero(rows >= 0)
        out[there] = numeric_attributes(self.view.snapshot, self.view.row_ids(rows[there]), names)
        return out

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Search the index of the space; see `ItemFeatures.nearest`."""
        found = np.full((len(vectors), n), -1, np.int64)
        scores = np.full((len(vectors), n), -1, np.float32)
        queries = [Query(self._split_vector(vector)) for vector in vectors]
        asked = [at for at, query in enumerate(queries) if query.vectors]
        selection = self._selection(allowed)
        lists = search_top_k(
            self.view, [queries[at] for at in asked], n, selection, self.weights, search_scale
        )
        for at, (rows, own) in zip(asked, lists, strict=True):
            columns = self.columns[rows]
            if (
                len(self.view.named_vectors) > 1
            ):  # ranked by what is beyond chance, not by the cosine
                own = self.take(columns) @ vectors[at]
                order = np.argsort(-own, kind="stable")
                columns, own = columns[order], own[order]
            found[at, : len(rows)], scores[at, : len(rows)] = columns, own
        return found, scores

    def nearest_to_items(
        self, columns: Columns, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Search the index for neighbours of items, cached; see `ItemFeatures`."""
        if allowed.flags.writeable:  # it may mean something else the next time
            return self.nearest(self.take(columns), n, allowed, search_scale)

        def search(some: Columns) -> tuple[Columns, FloatArray]:
            return self.nearest(self.take(some), n, allowed, search_scale)

        return self._near.get(columns, n, Among(allowed, search_scale), search)

    def similarities(self, columns: Columns, item: int) -> list[dict[str, float]]:
        """Give the cosine of each of some items with one, in every named vector that both have."""
        out: list[dict[str, float]] = [{} for _ in columns]
        rows, row = self.rows[columns], self.rows[[item]]
        there = np.flatnonzero(rows >= 0)
        for named_vector in self._chosen:
            own, one = (
                self.view.vectors(named_vector.name, rows[there]),
                self.view.vectors(named_vector.name, row),
            )
            if not one.present[0]:
                continue
            cosines = own.vectors @ one.vectors[0]
            for at, cosine in zip(there[own.present], cosines[own.present], strict=True):
                out[at][named_vector.name] = float(cosine)
        return out

    def part_of(self, name: str) -> slice:
        """Tell where in a vector a named vector is."""
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, slice]:
        ends = np.cumsum([named_vector.dim for named_vector in self._chosen]).tolist()
        return {b.name: slice(e - b.dim, e) for b, e in zip(self._chosen, ends, strict=True)}

    def remember(self, allowed: Mask, selection: Selection) -> None:
        """Know the selection of a mask over the items, so that it need not be made."""
        if len(self._selections) >= SELECTIONS:
            self._selections.clear()
        self._selections[id(allowed)] = allowed, selection

    def _selection(self, allowed: Mask) -> Selection:
        known = self._selections.get(id(allowed))
        if known is not None and known[0] is allowed:
            return known[1]
        rows = np.zeros(len(self.columns), bool)
        chosen = self.rows[allowed]
        rows[chosen[chosen >= 0]] = True
        return self.view.select_mask(rows)

    def _split_vector(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Take a vector apart into unit vectors of the named vectors that it has."""
        out = {}
        for name, part in self._parts.items():
            own = vector[part]
            norm = float(np.linalg.norm(own))
            if norm > 1e-6:
                out[name] = np.asarray(own / norm, np.float32)
        return out


def space_corpus(
    view: View,
    weights: Mapping[str, float],
    interactions: pa.Table,
    *,
    positive_from: float | None = None,
) -> TrainingData:
    """Make the corpus of every living item of a view.

    Parameters
    ----------
    view : View
        The items.
    weights : mapping of str to float
        Weight of each named vector.
    interactions : pyarrow.Table
        user_id, item_id, value, weight and time.
    positive_from : float, optional
        Least value that is liked, see `InteractionMatrix`.
    """
    rows = np.flatnonzero(view.living.rows)
    names = tuple(view.domains)
    return TrainingData(
        item_ids=view.item_ids(rows),
        domain_names=names,
        domains=codes_of(view.item_domains(rows), names),
        features=ViewContents(view, rows, weights, vectors_in_use(view)),
        interactions=space_matrix(view, interactions, positive_from=positive_from),
    )


def space_matrix(
    view: View, interactions: pa.Table, *, positive_from: float | None = None
) -> InteractionMatrix:
    """Make the matrix of users and the living items of a view, as `space_corpus` counts them."""
    living = view.living.rows
    columns = np.append(np.where(living, np.cumsum(living) - 1, -1), -1)  # the last: not found

    def find(item_ids: Sequence[str]) -> Columns:
        return columns[view.find(item_ids)]

    items = int(living.sum())
    return InteractionMatrix.from_table(interactions, find, items, positive_from=positive_from)


def vectors_in_use(view: View) -> tuple[str, ...]:
    """Name the encoders' named vectors in which some item has a vector; all where there is none.

    What was learned from contents must outlive an alignment, which can be learned anew any day.
    """
    own = [named_vector for named_vector in view.named_vectors if not named_vector.alignment]
    used = tuple(
        named_vector.name
        for named_vector in own
        if any(len(segment.named_vectors[named_vector.name].rows) for segment in view.segments)
    )
    return used or tuple(named_vector.name for named_vector in own)


def codes_of(domains: npt.NDArray[Any], names: Sequence[str]) -> Columns:
    """Give the code of each domain, -1 for one that is not named."""
    found = pa.array(domains, pa.string()).dictionary_encode()
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place.get(name, -1) for name in found.dictionary.to_pylist()], np.int64)
    return codes[found.indices.to_numpy(zero_copy_only=False)] if len(found) else codes
