"""Item-item co-occurrence: how many rows of a matrix two columns share, and what to make of it.

Rows may be users and columns items (item-KNN, EASE, pairs to train on), or the other way round
(user-KNN, on the transposed matrix).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.sparse import to_csr

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix

Rows = npt.NDArray[np.int64]

BLOCK: Final = 2_048  # columns whose co-occurrences are held at once
MIN_COMMON_USERS: Final = 2
MAX_PARTNERS: Final = 10


def co_occurrence_blocks(
    matrix: csr_array | csr_matrix, block: int = BLOCK
) -> Iterator[tuple[int, csr_array]]:
    """Yield the rows of ``X'X``, some at a time, with the number of the first.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        X, shape (n_users, n_items).
    block : int
        Rows of ``X'X`` in one block, each of shape (block, n_items).
    """
    by_item = matrix.T.tocsr()  # (n_items, n_users)
    for first in range(0, by_item.shape[0], block):
        yield first, (by_item[first : first + block] @ matrix).tocsr()


def gram_matrix(matrix: csr_array, l2: float) -> FloatArray:
    """Return ``X'X + l2 I``, dense, float32, shape (n_items, n_items)."""
    gram = np.asarray((matrix.T @ matrix).todense(), np.float32)
    gram[np.diag_indices_from(gram)] += l2
    return gram


@dataclass(frozen=True)
class CountSimilarity:
    """A similarity of two items from the number of users that they share.

    Of items with n and m users that share c it is ``c / (n^alpha m^beta + shrink)``: the cosine
    for exponents of 0.5 (Sarwar et al., WWW 2001), the asymmetric cosine for ``alpha + beta = 1``
    (Aiolli, RecSys 2013), the conditional probability for ``alpha = 1, beta = 0`` (Deshpande and
    Karypis, TOIS 2004). With ``jaccard`` it is ``c / (n + m - c + shrink)``.

    Attributes
    ----------
    alpha, beta : float
        Exponents of the two numbers of users.
    shrink : float
        Added to the denominator, so that pairs with few users in common count less.
    jaccard : bool
        Whether to divide by the union; the exponents are then not used.
    """

    alpha: float = 0.5
    beta: float = 0.5
    shrink: float = 0.0
    jaccard: bool = False

    def row_terms(self, totals: FloatArray) -> FloatArray:
        """Return what users of the row items, shape (n_rows,), contribute to the denominator."""
        return totals if self.jaccard else np.asarray(totals**self.alpha)

    def column_terms(self, totals: FloatArray) -> FloatArray:
        """Return what users of the column items, shape (n_columns,), contribute to it."""
        return totals if self.jaccard else np.asarray(totals**self.beta)

    def __call__(
        self, shared: FloatArray, row_terms: FloatArray, column_terms: FloatArray
    ) -> FloatArray:
        """Return the similarity of pairs, float32, shape (n_pairs,).

        Parameters
        ----------
        shared : numpy.ndarray
            Users in common of each pair.
        row_terms, column_terms : numpy.ndarray
            `row_terms` and `column_terms` of the two items of each pair.
        """
        if self.jaccard:
            denominators = row_terms + column_terms - shared
        else:
            denominators = row_terms * column_terms
        denominators += self.shrink
        return np.asarray(shared / np.maximum(denominators, 1e-12), np.float32)


def nearest_columns(
    matrix: csr_array, similarity: CountSimilarity, k: int | None, groups: Columns
) -> csr_array:
    """Return for each item its k most similar other items in each group of items.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        Ones, float32, shape (n_users, n_items).
    similarity : CountSimilarity
        Rows are the item whose neighbours are sought.
    k : int or None
        Neighbours in each group; None keeps all.
    groups : numpy.ndarray
        int64, shape (n_items,): the group of each item, such as its domain.

    Returns
    -------
    scipy.sparse.csr_array
        float32, shape (n_items, n_items), columns ascending.
    """
    from scipy.sparse import vstack

    totals = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1)
    row_terms, column_terms = similarity.row_terms(totals), similarity.column_terms(totals)
    parts = []
    for first, shared in co_occurrence_blocks(matrix):
        rows = first + np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        shared.data = similarity(shared.data, row_terms[rows], column_terms[shared.indices])
        parts.append(top_k_per_group(_without_diagonal(shared, first), k, groups))
    return to_csr(vstack(parts, format="csr").astype(np.float32))


def top_k_per_group(matrix: csr_array, k: int | None, groups: Columns | None = None) -> csr_array:
    """Return the k largest values of each row in each group of columns; ties keep the first.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        Shape (n_rows, n_columns).
    k : int or None
        Values kept; None keeps all.
    groups : numpy.ndarray, optional
        int64, shape (n_columns,); by default all columns are one group.
    """
    from scipy.sparse import csr_array

    if k is None:
        return matrix
    columns, values = matrix.indices, matrix.data
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    cells = rows  # (n_entries,): the row and the group of each entry, as one number
    if groups is not None:
        cells = rows * (int(groups.max(initial=0)) + 1) + groups[columns]
    over_full = np.bincount(cells, minlength=1)[cells] > k
    kept = ~over_full
    crowded = np.flatnonzero(over_full)
    crowded = crowded[np.argsort(cells[crowded], kind="stable")]
    bounds = np.flatnonzero(np.diff(cells[crowded], prepend=-1, append=-1))
    for start, end in pairwise(bounds.tolist()):
        cell = crowded[start:end]
        smallest = np.partition(values[cell], -k)[-k]
        above, ties = cell[values[cell] > smallest], cell[values[cell] == smallest]
        kept[above] = True
        kept[ties[np.argsort(columns[ties])[: k - len(above)]]] = True
    out = csr_array((values[kept], (rows[kept], columns[kept])), shape=matrix.shape)
    out.sort_indices()
    return out


def co_occurring_pairs(
    likes: csr_matrix, *, min_common_users: int = MIN_COMMON_USERS, max_partners: int = MAX_PARTNERS
) -> Rows:
    """Return the pairs of items that co-occur more often than chance.

    A pair counts if enough users have both items, and more than if users took items
    independently. Each item keeps the partners with the highest cosine: users in common over the
    root of the product of both numbers of users. Popular items so have no partner by popularity.

    Parameters
    ----------
    likes : scipy.sparse.csr_matrix
        Shape (n_users, n_items); every stored entry counts, whatever its value.
    min_common_users : int, default 2
        Users in common, at least.
    max_partners : int, default 10
        Partners that an item keeps; a pair stays if one of the two keeps it.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_pairs, 2): columns of items, the smaller first, sorted.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> likes = csr_matrix([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
    >>> co_occurring_pairs(likes).tolist()
    [[0, 1]]
    """
    from scipy.sparse import csr_matrix

    ones = csr_matrix((np.ones(likes.nnz, np.float32), likes.indices, likes.indptr), likes.shape)
    counts = np.asarray(ones.sum(axis=0)).ravel().astype(np.float64)
    kept = [np.empty((0, 2), np.int64)]
    for start, shared in co_occurrence_blocks(ones):
        common = shared.tocoo()
        first, second = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        products = counts[first] * counts[second]
        fits = (first != second) & (common.data >= min_common_users)
        fits &= common.data * ones.shape[0] > products  # expected: products / n_users
        cosines = common.data[fits] / np.sqrt(products[fits])
        kept.append(_best_partners(first[fits], second[fits], cosines, max_partners))
    return np.unique(np.sort(np.concatenate(kept), axis=1), axis=0)


def _best_partners(first: Rows, second: Rows, scores: npt.NDArray[np.float64], n: int) -> Rows:
    """Return for each item the pairs with the highest scores; ties keep the lower columns."""
    order = np.lexsort((second, -scores, first))
    first, second = first[order], second[order]
    starts = np.flatnonzero(np.concatenate([[True], first[1:] != first[:-1]])[: len(first)])
    rank = np.arange(len(first)) - np.repeat(starts, np.diff([*starts, len(first)]))
    return np.stack([first, second], axis=1)[rank < n]


def _without_diagonal(block: csr_array, first: int) -> csr_array:
    """Return a block of a square matrix without the entries on the diagonal."""
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    others = block.indices != rows + first
    starts = np.concatenate([[0], np.cumsum(others)])[block.indptr]
    return csr_array((block.data[others], block.indices[others], starts), shape=block.shape)
