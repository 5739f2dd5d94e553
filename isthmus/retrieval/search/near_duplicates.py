"""Near-duplicate groups: the connected components of the pairs of similar items.

Every member of a group is within the threshold of at least one other member (single linkage).
Such groups can chain: of a, b and c, the ends may be less similar than the threshold. So each
member is reported with its similarity to the group's representative too, by which a group can be
cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.progress import Advance, progress_bar
from isthmus.schema import DOMAIN, ITEM_ID, SCORE

GROUP = "group"
CLOSEST = "closest"
REPRESENTATIVE = "representative"
SCHEMA = pa.schema(
    [
        (GROUP, pa.int64()),
        (ITEM_ID, pa.string()),
        (DOMAIN, pa.string()),
        (SCORE, pa.float32()),
        (CLOSEST, pa.float32()),
        (REPRESENTATIVE, pa.string()),
    ]
)

BATCH_SIZE: Final = 1_024
# Neighbours searched, first of every item, then of those whose last neighbour is a duplicate.
WIDTHS: Final = (16, 128)
ROUNDING: Final = 1e-6  # identical items may have a cosine of 0.9999999


def find_duplicates(
    view: View,
    threshold: float,
    selection: Selection | None,
    vector_name: str | None,
    *,
    show: bool,
) -> pa.Table:
    """Group the items whose vectors in a named vector are similar.

    Parameters
    ----------
    view : View
        What is searched; neighbours come from its index.
    threshold : float
        Cosine similarity from which two items are duplicates, in (0, 1].
    selection : Selection, optional
        The items to compare.
    vector_name : str, optional
        The named vector to compare in; by default the one that most of the items have.
    show : bool
        Whether to show a bar.

    Returns
    -------
    pyarrow.Table
        See `isthmus.Space.duplicates`.

    Raises
    ------
    InvalidInput
        If the threshold is out of range, or there is no such named vector.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}; give a cosine similarity in (0, 1]")
    mask = (selection or view.living).rows
    name, rows = _rows_of_vector(view, mask, vector_name)
    finder = _Finder(view, name, rows, mask, threshold - ROUNDING)
    with progress_bar("comparing", len(rows), show=show) as advance:
        finder.search_all(advance)
    return _table(view, name, rows, finder.groups(), finder.closest)


class _Finder:
    """Finds enough pairs of duplicates among some rows to know the connected components.

    Items are numbered by their position among the rows. An item is open while all the neighbours
    that were searched are duplicates, so that there may be more.
    """

    def __init__(
        self, view: View, vector_name: str, rows: Positions, mask: Mask, threshold: float
    ) -> None:
        self._view = view
        self._vector_name = vector_name
        self._rows = rows
        self._mask = mask
        self._selection = view.select_mask(mask)
        self._threshold = threshold
        self._position = np.full(len(mask), -1, np.int64)
        self._position[rows] = np.arange(len(rows))
        self._pairs: list[tuple[Positions, Positions]] = []
        self.closest = np.full(len(rows), -np.inf, np.float32)

    def search_all(self, advance: Advance) -> None:
        """Compare every item with its neighbours."""
        open_items = np.arange(len(self._rows))
        for step, width in enumerate(WIDTHS):
            still_open = []
            for items in _batches(open_items):
                is_open = self._compare(items, width + 1, self._selection)  # one is itself
                still_open.append(items[is_open])
                if step == 0:
                    advance(len(items))
            open_items = np.concatenate([*still_open, np.empty(0, np.int64)])
        self._close(open_items)

    def groups(self) -> npt.NDArray[np.int32]:
        """Return the connected component of each item, shape (n_items,)."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self._rows)
        a, b = (np.concatenate([np.empty(0, np.int64), *ends]) for ends in self._ends())
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(n, n))
        return np.asarray(connected_components(graph, directed=False)[1], np.int32)

    def _ends(self) -> tuple[list[Positions], list[Positions]]:
        return [a for a, _ in self._pairs], [b for _, b in self._pairs]

    def _close(self, open_items: Positions) -> None:
        """Search outside the group of each open item, until no group grows.

        Pairs within a group are not needed: a thousand copies of one item have half a million.
        """
        while len(open_items):
            groups = self.groups()
            still_open = []
            for group in np.unique(groups[open_items]).tolist():
                outside = self._mask.copy()
                outside[self._rows[groups == group]] = False
                for items in _batches(open_items[groups[open_items] == group]):
                    n_pairs = len(self._pairs)
                    self._compare(items, WIDTHS[0], self._view.select_mask(outside))
                    reaching = np.concatenate([a for a, _ in self._pairs[n_pairs:]])
                    still_open.append(np.intersect1d(items, reaching))
            open_items = np.concatenate(still_open)

    def _compare(self, items: Positions, width: int, selection: Selection) -> Mask:
        """Search the neighbours of items; return the items of which all are duplicates."""
        vectors = self._view.vectors(self._vector_name, self._rows[items]).vectors
        scores, rows = self._view.search(self._vector_name, vectors, width, selection)
        is_row = rows >= 0  # (n_items, width)
        positions = np.where(is_row, self._position[np.maximum(rows, 0)], -1)
        is_other = is_row & (positions != items[:, None])
        similar = is_row & (scores >= self._threshold)
        query, column = np.nonzero(is_other & similar)
        a, b, score = items[query], positions[query, column], scores[query, column]
        self._pairs.append((a, b))
        np.maximum.at(self.closest, a, score)
        np.maximum.at(self.closest, b, score)
        return np.asarray(similar.all(axis=1))


def _rows_of_vector(view: View, mask: Mask, vector_name: str | None) -> tuple[str, Positions]:
    names = [b.name for b in view.named_vectors]
    if vector_name is not None and vector_name not in names:
        raise InvalidInput(
            f"no named vector {vector_name!r} in this space; its named vectors "
            f"are: {', '.join(names)}"
        )
    rows = np.flatnonzero(mask)
    by_vector = {n: rows[view.present(n, rows)] for n in ([vector_name] if vector_name else names)}
    name = max(by_vector, key=lambda n: len(by_vector[n]))
    return name, by_vector[name]


def _batches(items: Positions) -> Iterator[Positions]:
    for start in range(0, len(items), BATCH_SIZE):
        yield items[start : start + BATCH_SIZE]


def _table(
    view: View,
    vector_name: str,
    rows: Positions,
    groups: npt.NDArray[np.int32],
    closest: FloatArray,
) -> pa.Table:
    """Return the groups of two or more, the largest first, each with its representative first."""
    shared = np.flatnonzero(np.bincount(groups)[groups] > 1) if len(groups) else rows
    ids = np.array(view.item_ids(rows[shared]), object)
    listed = []
    for members in _split(groups[shared]):
        order, scores = _arrange(
            view.vectors(vector_name, rows[shared[members]]).vectors, ids[members]
        )
        listed.append((members[order], scores[order]))
    listed.sort(key=lambda group: (-len(group[0]), ids[group[0][0]]))
    sizes = [len(members) for members, _ in listed]
    order = np.concatenate([np.empty(0, np.int64), *(members for members, _ in listed)])
    firsts = np.array([members[0] for members, _ in listed], np.int64)
    columns = [
        pa.array(np.repeat(np.arange(1, len(sizes) + 1), sizes), pa.int64()),
        pa.array(ids[order], pa.string()),
        pa.array(view.item_domains(rows[shared[order]]), pa.string()),
        pa.array(np.concatenate([np.empty(0, np.float32), *(s for _, s in listed)]), pa.float32()),
        pa.array(closest[shared[order]], pa.float32()),
        pa.array(np.repeat(ids[firsts], sizes), pa.string()),
    ]
    return pa.table(columns, schema=SCHEMA)


def _split(groups: npt.NDArray[np.int32]) -> list[Positions]:
    """Return the positions of each group's members."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, ends) if len(order) else []


def _arrange(
    vectors: FloatArray, ids: npt.NDArray[np.object_]
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """Order one group by similarity to its representative, the member nearest to their mean."""
    central = (vectors @ vectors.mean(axis=0)).round(5)
    best = int(np.lexsort((ids, -central))[0])
    scores = vectors @ vectors[best]
    order = np.lexsort((ids, -scores.round(6), np.arange(len(ids)) != best))
    return order, scores
