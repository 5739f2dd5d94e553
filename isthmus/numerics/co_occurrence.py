"""Items that the same users took: pairs to fine-tune by, corrected for popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Rows = npt.NDArray[np.int64]

ITEMS_AT_ONCE: Final = 2_048
MIN_COMMON_USERS: Final = 2
MAX_PARTNERS: Final = 10


def co_occurring_pairs(
    likes: csr_matrix, *, least_common: int = MIN_COMMON_USERS, most_each: int = MAX_PARTNERS
) -> Rows:
    """Give the pairs of items that belong together by their users.

    Two items belong together if enough users have both, and more than if users took items
    independently of one another; of these each item keeps those with the highest cosine of their
    columns, users in common over the root of the product of both numbers of users. So what
    everybody takes goes with nothing in particular.

    Parameters
    ----------
    likes : scipy.sparse.csr_matrix
        Shape (users, items): what counts, whatever its value.
    least_common : int, default 2
        Users in common, at least.
    most_each : int, default 10
        Partners that an item keeps; a pair stays if one of the two keeps it.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_pairs, 2): columns of items, the smaller first, sorted.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> likes = csr_matrix([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
    >>> co_consumed(likes).tolist()
    [[0, 1]]
    """
    from scipy.sparse import csr_matrix

    ones = csr_matrix((np.ones(likes.nnz, np.float32), likes.indices, likes.indptr), likes.shape)
    users, items = ones.shape
    counts = np.asarray(ones.sum(axis=0)).ravel().astype(np.float64)
    by_item = ones.T.tocsr()
    kept = [np.empty((0, 2), np.int64)]
    for start in range(0, items, ITEMS_AT_ONCE):
        common = (by_item[start : start + ITEMS_AT_ONCE] @ ones).tocoo()
        first, second = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        expected = counts[first] * counts[second]
        fits = (first != second) & (common.data >= least_common)
        fits &= common.data * users > expected
        cosines = common.data[fits] / np.sqrt(expected[fits])
        kept.append(_best_of_each(first[fits], second[fits], cosines, most_each))
    return np.unique(np.sort(np.concatenate(kept), axis=1), axis=0)


def _best_of_each(first: Rows, second: Rows, scores: npt.NDArray[np.float64], most: int) -> Rows:
    """Give for each item the pairs with the highest scores; of equals the lower columns."""
    order = np.lexsort((second, -scores, first))
    first, second = first[order], second[order]
    starts = np.flatnonzero(np.concatenate([[True], first[1:] != first[:-1]])[: len(first)])
    rank = np.arange(len(first)) - np.repeat(starts, np.diff([*starts, len(first)]))
    return np.stack([first, second], axis=1)[rank < most]
