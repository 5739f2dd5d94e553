"""Maximum inner product search over the items of one domain."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.training_data import TrainingData

MIN_HALF_PRECISION = 5_000  # vectors from which on they are scanned in half precision
MIN_BATCH = 32  # users from which on a matrix product is faster than a scan
RERANKED = 32  # items beyond k that are found in half precision and rescored
FIRST_BLOCK = 4_096  # vectors that are scanned first; each block is twice as long as the last
MARGIN = 1e-5  # of a bound, which is rounded
LANES = 16  # FAISS scans half precision several times slower if the dimension is no multiple


class DotProductIndex:
    """The vectors of some items, searched for the largest dot products with user vectors.

    Many vectors are scanned in half precision (FAISS), which reads half the memory; what is found
    is rescored in single precision. They are scanned by falling norm, in blocks, until no product
    can be larger than those found: it is at most the product of the norms. Factors of popular items
    are much longer than others, so that few blocks are read. For a batch of users all products are
    computed instead.

    Parameters
    ----------
    columns : numpy.ndarray
        int64, shape (n,), ascending: the items.
    items : numpy.ndarray
        float32, shape (n_items, dim): the vectors of all columns.
    """

    def __init__(self, columns: Columns, items: FloatArray) -> None:
        large = len(columns) >= MIN_HALF_PRECISION
        if large:
            columns = columns[np.argsort(-np.linalg.norm(items[columns], axis=1), kind="stable")]
        self.columns = columns
        self._items = items
        self._last: tuple[Mask, Bitmap] | None = None
        self._last_parts: tuple[Bitmap, list[Bitmap]] | None = None
        self._blocks = _blocks(items, columns) if large else []
        self._vectors = np.ascontiguousarray(items[columns[:0] if large else columns], np.float32)

    def top_k(self, users: FloatArray, n: int, allowed: Mask) -> tuple[Columns, FloatArray]:
        """Return the items with the largest dot products.

        Parameters
        ----------
        users : numpy.ndarray
            float32, shape (n_users, dim).
        n : int
            Items a user.
        allowed : numpy.ndarray
            bool, shape (n_items,): over all columns.

        Returns
        -------
        items, products : numpy.ndarray
            int64 and float32, shape (n_users, n), largest first, padded with -1 and -inf. In
            small indexes ties keep the first.
        """
        bitmap = self._bitmap(allowed)
        k = min(n, bitmap.count)
        items = np.full((len(users), n), -1, np.int64)
        products = np.full((len(users), n), -np.inf, np.float32)
        if k and len(users):
            search = self._multiply
            if self._blocks:
                search = self._scan if len(users) < MIN_BATCH else self._multiply_batch
            places, products[:, :k] = search(users, k, bitmap)
            items[:, :k] = self.columns[places]
        return items, products

    def _bitmap(self, allowed: Mask) -> Bitmap:
        """Return the mask of the items of this index; that of a read-only mask is cached."""
        last = self._last
        if last is not None and last[0] is allowed:
            return last[1]
        bitmap = Bitmap(allowed[self.columns])
        if not allowed.flags.writeable:
            self._last = allowed, bitmap
        return bitmap

    def _multiply(self, users: FloatArray, k: int, bitmap: Bitmap) -> tuple[Columns, FloatArray]:
        places = np.empty((len(users), k), np.int64)
        products = np.empty((len(users), k), np.float32)
        allowed = bitmap.positions
        vectors = self._vectors if bitmap.is_full else self._vectors[allowed]
        for user, row in enumerate(users @ vectors.T):
            top = top_k(row, k)
            places[user], products[user] = allowed[top], row[top]
        return places, products

    def _multiply_batch(
        self, users: FloatArray, k: int, bitmap: Bitmap
    ) -> tuple[Columns, FloatArray]:
        allowed = bitmap.positions
        products, places = exact_search(users, self._items[self.columns[allowed]], k)
        return allowed[places], products

    def _scan(self, users: FloatArray, k: int, bitmap: Bitmap) -> tuple[Columns, FloatArray]:
        parts = self._parts(bitmap)
        found = [self._scan_for(user, k, parts) for user in users]
        return np.stack([places for places, _ in found]), np.stack([best for _, best in found])

    def _parts(self, bitmap: Bitmap) -> list[Bitmap]:
        """Return the parts of a bitmap that belong to each block; the last ones are cached."""
        last = self._last_parts
        if last is None or last[0] is not bitmap:
            parts = [Bitmap(bitmap.mask[block.start : block.stop]) for block in self._blocks]
            last = self._last_parts = bitmap, parts
        return last[1]

    def _scan_for(
        self, user: FloatArray, k: int, parts: Sequence[Bitmap]
    ) -> tuple[Columns, FloatArray]:
        """Return the places of the k largest products of a user, and these, both (k,)."""
        faiss: Any = import_module("faiss")
        places, products = np.empty(0, np.int64), np.empty(0, np.float32)
        query, length = _padded(user[None]), (1 + MARGIN) * float(np.linalg.norm(user))
        for block, bitmap in zip(self._blocks, parts, strict=True):
            if len(products) == k and products[-1] > block.longest * length:
                break
            if not bitmap.count:
                continue
            parameters = None
            if not bitmap.is_full:
                parameters = faiss.SearchParameters(sel=bitmap.selector)
            reach = min(k + RERANKED, bitmap.count)
            found = block.index.search(query, reach, params=parameters)[1][0] + block.start
            places = np.concatenate([places, found])
            products = np.concatenate([products, self._items[self.columns[found]] @ user])
            order = np.argsort(-products, kind="stable")[:k]
            places, products = places[order], products[order]
        return places, products


class _Block(NamedTuple):
    """Vectors that are scanned together: their places, the largest norm, and a FAISS index."""

    start: int
    stop: int
    longest: float
    index: Any


def _blocks(items: FloatArray, columns: Columns) -> list[_Block]:
    """Return blocks of the vectors of some items, which are ordered by falling norm."""
    blocks, start = [], 0
    while start < len(columns):
        stop = 2 * start + FIRST_BLOCK
        vectors = items[columns[start:stop]]
        longest = float(np.linalg.norm(vectors[0]))
        stop = start + len(vectors)
        blocks.append(_Block(start, stop, longest, _half_precision_index(vectors)))
        start = stop
    return blocks


class DotProductIndexes:
    """The index of each domain, built when first used.

    Parameters
    ----------
    indexed : numpy.ndarray, optional
        bool, shape (n_vectors,): the items that are indexed; all by default.
    """

    def __init__(self, indexed: Mask | None = None) -> None:
        self._indexed = indexed
        self._items: FloatArray | None = None
        self._by_domain: dict[int, DotProductIndex] = {}

    def of(self, data: TrainingData, items: FloatArray, target: int) -> DotProductIndex:
        """Return the index of a domain; indexes of another array of vectors are dropped.

        Parameters
        ----------
        data : TrainingData
            For the domains of the items.
        items : numpy.ndarray
            float32, shape (n_vectors, dim): the vectors of the first items of the data.
        target : int
            Code of the domain.
        """
        if self._items is not items:
            self._items, self._by_domain = items, {}
        if target not in self._by_domain:
            mask = data.in_domain(target)[: len(items)]
            columns = np.flatnonzero(mask if self._indexed is None else mask & self._indexed)
            self._by_domain[target] = DotProductIndex(columns, items)
        return self._by_domain[target]


def _half_precision_index(vectors: FloatArray) -> Any:
    faiss: Any = import_module("faiss")
    padded, kind = _padded(vectors), faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexScalarQuantizer(padded.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.add(padded)
    return index


def _padded(vectors: FloatArray) -> npt.NDArray[np.float32]:
    """Append zeros until the dimension is a multiple of sixteen."""
    missing = -vectors.shape[1] % LANES
    vectors = np.ascontiguousarray(vectors, np.float32)
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors
