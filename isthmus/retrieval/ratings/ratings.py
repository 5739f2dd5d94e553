"""Ratings as three arrays, and histories as the same three."""

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
    """What is known of a user, in any order.

    Attributes
    ----------
    columns : sequence of int
        The items rated, each once.
    values : sequence of float
        The rating of each.
    """

    columns: Sequence[int] | npt.NDArray[np.integer[Any]]
    values: Sequence[float] | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ratings:
    """Entries in the order of their rows, and of their columns within a row.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        int64, shape (entries,): the user and the item of each.
    values : numpy.ndarray
        float64, shape (entries,).
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
    def of(cls, matrix: InteractionMatrix) -> Ratings:
        """Take the entries of a matrix with their values."""
        rows = matrix.owners
        return cls(rows, matrix.columns, matrix.strengths.astype(np.float64), matrix.shape)

    @classmethod
    def packed(cls, histories: Sequence[History], items: int) -> Ratings:
        """Put histories one after the other, a row each.

        Raises
        ------
        InvalidInput
            If one has not one value an item, a value that is not finite, an item that is not
            there, or an item twice; the message names the history.
        """
        parts = [_checked(number, own, items) for number, own in enumerate(histories)]
        lengths = [len(columns) for columns, _ in parts]
        return cls(
            np.repeat(np.arange(len(parts)), lengths),
            np.concatenate([np.zeros(0, np.int64), *(columns for columns, _ in parts)]),
            np.concatenate([np.zeros(0), *(values for _, values in parts)]),
            (len(parts), items),
        )

    @property
    def starts(self) -> Codes:
        """Where each row begins, and where the last ends, shape (users + 1,)."""
        return np.searchsorted(self.rows, np.arange(self.shape[0] + 1)).astype(np.int64)

    @property
    def by_user(self) -> Codes:
        """Number of entries of each row."""
        return np.bincount(self.rows, minlength=self.shape[0]).astype(np.int64)

    @property
    def by_item(self) -> Codes:
        """Number of entries of each column."""
        return np.bincount(self.columns, minlength=self.shape[1]).astype(np.int64)

    def only(self, kept: Mask) -> Ratings:
        """Give some of the entries; users and items keep their numbers."""
        return Ratings(self.rows[kept], self.columns[kept], self.values[kept], self.shape)

    def matrix(self, data: Floats) -> csr_array:
        """Give a number for each entry as a sparse matrix, shape `shape`."""
        from scipy.sparse import csr_array

        return csr_array((data, self.columns, self.starts), shape=self.shape)


def _checked(number: int, history: History, items: int) -> tuple[Codes, Floats]:
    columns = checked_columns(f"history {number}", history.columns, items)
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
    twice = columns[1:][columns[1:] == columns[:-1]]
    if len(twice):
        raise InvalidInput(f"history {number} rates item {twice[0]} twice; give the latest alone")
    return columns, values


def checked_columns(
    what: str, columns: Sequence[int] | npt.NDArray[np.integer[Any]], items: int
) -> Codes:
    """Give item numbers as int64.

    Raises
    ------
    InvalidInput
        If one is not the number of an item.
    """
    found = np.asarray(columns)
    if found.size and not np.issubdtype(found.dtype, np.integer):
        raise InvalidInput(f"{what} has items of type {found.dtype}; give whole numbers")
    found = found.astype(np.int64).reshape(-1)
    outside = found[(found < 0) | (found >= items)]
    if len(outside):
        raise InvalidInput(
            f"{what} has item {outside[0]}, but the model knows items 0 to {items - 1}; add new "
            "items with RatingModel.extended"
        )
    return found
