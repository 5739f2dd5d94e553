"""Near-duplicate groups: the connected components of the items that are nearly alike.

Every member of a group is within the threshold of at least one other member (single linkage).
Such groups can chain: of a, b and c, the ends may be less alike than the threshold allows. So
each member is reported with its similarity to the group's representative too, by which a
stricter reader may cut a group.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import Mask, Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
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

ITEMS_A_BATCH = 1_024
# Neighbours asked for, first of every item, then of those whose last one is still alike.
WIDTHS = (16, 128)
ROUNDING = 1e-6  # identical items may have a cosine of 0.9999999


def find_duplicates(
    view: View, threshold: float, allowed: Selection | None, vector_name: str | None, *, show: bool
) -> pa.Table:
    """Group the items whose vectors in a named vector are alike.

    Parameters
    ----------
    view : View
        What is searched; neighbours come from its index.
    threshold : float
        Cosine similarity from which two items are duplicates, in (0, 1].
    allowed : Selection, optional
        The rows of the view: the items to compare.
    vector_name : str, optional
        Block to compare in; by default the one that most of the items have.
    show : bool
        Whether to show a bar.

    Returns
    -------
    pyarrow.Table
        See `isthmus.Space.duplicates`.

    Raises
    ------
    InvalidInput
        If the threshold or the named vector is no good.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}; give a cosine similarity in (0, 1]")
    mask = (allowed or view.living).rows
    name, rows = _rows_of_vector(view, mask, vector_name)
    finder = _Finder(view, name, rows, mask, threshold - ROUNDING)
    with progress_bar("comparing", len(rows), show=show) as advance:
        finder.search_all(advance)
    return _table(view, name, rows, finder.groups(), finder.closest)


class _Finder:
    """Finds alike pairs among some rows, enough of them to know the connected components.

    Items are numbered by their place among the rows. An item is open while all the neighbours
    it asked for were alike, so that there may be more.
    """

    def __init__(
        self, view: View, vector_name: str, rows: Positions, mask: Mask, threshold: float
    ) -> None:
        self._view = view
        self._block = vector_name
        self._rows = rows
        self._mask = mask
        self._whole = view.only(mask)
        self._threshold = threshold
        self._place = np.full(len(mask), -1, np.int64)
        self._place[rows] = np.arange(len(rows))
        self._pairs: list[tuple[Positions, Positions]] = []
        self.closest = np.full(len(rows), -np.inf, np.float32)

    def search_all(self, advance: Advance) -> None:
        """Compare every item with its neighbours."""
        open_items = np.arange(len(self._rows))
        for step, width in enumerate(WIDTHS):
            found = []
            for items in _batches(open_items):
                found.append(items[self._compare(items, width + 1, self._whole)])  # one is itself
                if step == 0:
                    advance(len(items))
            open_items = np.concatenate([*found, np.empty(0, np.int64)])
        self._close(open_items)

    def groups(self) -> npt.NDArray[np.int32]:
        """Give the number of each item's connected component, shape (n_items,)."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self._rows)
        a, b = (np.concatenate([np.empty(0, np.int64), *ends]) for ends in self._ends())
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(n, n))
        return np.asarray(connected_components(graph, directed=False)[1], np.int32)

    def _ends(self) -> tuple[list[Positions], list[Positions]]:
        return [a for a, _ in self._pairs], [b for _, b in self._pairs]

    def _close(self, open_items: Positions) -> None:
        """Look beyond the group that each open item is in, until no group grows.

        The pairs within a group need not be known: a thousand copies of one item would have
        half a million.
        """
        while len(open_items):
            groups = self.groups()
            found = []
            for group in np.unique(groups[open_items]).tolist():
                outside = self._mask.copy()
                outside[self._rows[groups == group]] = False
                for items in _batches(open_items[groups[open_items] == group]):
                    known = len(self._pairs)
                    self._compare(items, WIDTHS[0], self._view.only(outside))
                    reaching = np.concatenate([a for a, _ in self._pairs[known:]])
                    found.append(np.intersect1d(items, reaching))
            open_items = np.concatenate(found)

    def _compare(self, items: Positions, width: int, allowed: Selection) -> Mask:
        """Search the neighbours of items; mark the items of which every neighbour is alike."""
        vectors = self._view.vectors(self._block, self._rows[items]).vectors
        scores, rows = self._view.search(self._block, vectors, width, allowed)
        there = rows >= 0
        places = np.where(there, self._place[np.maximum(rows, 0)], -1)
        other = there & (places != items[:, None])
        alike = there & (scores >= self._threshold)
        query, at = np.nonzero(other & alike)
        a, b, score = items[query], places[query, at], scores[query, at]
        self._pairs.append((a, b))
        np.maximum.at(self.closest, a, score)
        np.maximum.at(self.closest, b, score)
        return np.asarray(alike.all(axis=1))


def _rows_of_vector(view: View, mask: Mask, vector_name: str | None) -> tuple[str, Positions]:
    names = [b.name for b in view.named_vectors]
    if vector_name is not None and vector_name not in names:
        raise InvalidInput(
            f"no named vector {vector_name!r} in this space; its named vectors "
            f"are: {', '.join(names)}"
        )
    rows = np.flatnonzero(mask)
    having = {n: rows[view.present(n, rows)] for n in ([vector_name] if vector_name else names)}
    name = max(having, key=lambda n: len(having[n]))
    return name, having[name]


def _batches(items: Positions) -> Iterator[Positions]:
    for start in range(0, len(items), ITEMS_A_BATCH):
        yield items[start : start + ITEMS_A_BATCH]


def _table(
    view: View,
    vector_name: str,
    rows: Positions,
    groups: npt.NDArray[np.int32],
    closest: FloatArray,
) -> pa.Table:
    """List the groups of two and more, the largest first, each with its representative first."""
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
    """Give the places of each group's members."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, ends) if len(order) else []


def _arrange(
    vectors: FloatArray, ids: npt.NDArray[np.object_]
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """Order one group by likeness to its representative, the member nearest to their mean."""
    central = (vectors @ vectors.mean(axis=0)).round(5)
    best = int(np.lexsort((ids, -central))[0])
    scores = vectors @ vectors[best]
    order = np.lexsort((ids, -scores.round(6), np.arange(len(ids)) != best))
    return order, scores
