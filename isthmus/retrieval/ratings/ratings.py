"""Ratings as three arrays, and histories in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isthmus.data.interactions.matrix import InteractionMatrix

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class History(NamedTuple):
    """The ratings of one user, in any order.

    Attributes
    ----------
    columns : sequence of int
        The rated items, each once.
    values : sequence of float
        The rating of each.
    """

    columns: Sequence[int] | npt.NDArray[np.integer[Any]]
    values: Sequence[float] | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ratings:
    """Ratings sorted by user, and by item within a user.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        int64, shape (n_ratings,): the user and the item of each.
    values : numpy.ndarray
        float64, shape (n_ratings,).
    shape : tuple of int
        Number of users, and of items.
    """

    rows: Codes
    columns: Codes
    values: Floats
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_matrix(cls, matrix: InteractionMatrix) -> Ratings:
        """Take the entries of a matrix; their strengths are the ratings."""
        values = matrix.strengths.astype(np.float64)
        return cls(matrix.owners, matrix.columns, values, matrix.shape)

    @classmethod
    def from_histories(cls, histories: Sequence[History], n_items: int) -> Ratings:
        """Concatenate histories, one row each.

        Raises
        ------
        InvalidInput
            If a history has not one value an item, a value that is not finite, an unknown item,
            or an item twice; the message names the history.
        """
        parts = [_checked(number, history, n_items) for number, history in enumerate(histories)]
        lengths = [len(columns) for columns, _ in parts]
        return cls(
            np.repeat(np.arange(len(parts)), lengths),
            np.concatenate([np.zeros(0, np.int64), *(columns for columns, _ in parts)]),
            np.concatenate([np.zeros(0), *(values for _, values in parts)]),
            (len(parts), n_items),
        )

    @property
    def starts(self) -> Codes:
        """Where the ratings of each user begin, and where the last ones end, (n_users + 1,)."""
        return np.searchsorted(self.rows, np.arange(self.shape[0] + 1)).astype(np.int64)

    @property
    def user_counts(self) -> Codes:
        """Number of ratings by each user, shape (n_users,)."""
        return np.bincount(self.rows, minlength=self.shape[0]).astype(np.int64)

    @property
    def item_counts(self) -> Codes:
        """Number of ratings of each item, shape (n_items,)."""
        return np.bincount(self.columns, minlength=self.shape[1]).astype(np.int64)

    def filter(self, mask: Mask) -> Ratings:
        """Return the ratings in a mask, (n_ratings,); users and items keep their numbers."""
        return Ratings(self.rows[mask], self.columns[mask], self.values[mask], self.shape)

    def with_values(self, values: Floats) -> Ratings:
        """Return the same pairs with other values."""
        return Ratings(self.rows, self.columns, values, self.shape)

    def matrix(self, data: Floats) -> csr_array:
        """Return a number for each rating as a sparse matrix, shape (n_users, n_items)."""
        from scipy.sparse import csr_array

        return csr_array((data, self.columns, self.starts), shape=self.shape)


def _checked(number: int, history: History, n_items: int) -> tuple[Codes, Floats]:
    columns = checked_columns(f"history {number}", history.columns, n_items)
    values = np.asarray(history.values, np.float64).reshape(-1)
    if len(columns) != len(values):
        raise InvalidInput(
            f"history {number} has {len(columns)} items and {len(values)} values; give one an item"
        )
    if not np.isfinite(values).all():
        bad = columns[~np.isfinite(values)][0]
        raise InvalidInput(f"history {number} has no finite value for item {bad}; leave it out")
    order = np.argsort(columns, kind="stable")
    columns, values = columns[order], values[order]
    repeated = columns[1:][columns[1:] == columns[:-1]]
    if len(repeated):
        raise InvalidInput(
            f"history {number} rates item {repeated[0]} twice; give the latest alone"
        )
    return columns, values


def checked_columns(
    what: str, columns: Sequence[int] | npt.NDArray[np.integer[Any]], n_items: int
) -> Codes:
    """Return item numbers as int64.

    Raises
    ------
    InvalidInput
        If one is not the number of an item.
    """
    array = np.asarray(columns)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InvalidInput(f"{what} has items of type {array.dtype}; give whole numbers")
    array = array.astype(np.int64).reshape(-1)
    outside = array[(array < 0) | (array >= n_items)]
    if len(outside):
        raise InvalidInput(
            f"{what} has item {outside[0]}, but the model knows items 0 to {n_items - 1}; add new "
            "items with RatingModel.extended"
        )
    return array
