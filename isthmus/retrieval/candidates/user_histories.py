"""Histories: what is known of the users that are recommended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import ragged, ranges, row_maxima
from isthmus.numerics.sparse_rows import SparseRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

HALF_LIFE = 50.0


@dataclass(frozen=True, eq=False)
class UserHistories:
    """The items of many users, each user's in the order of its columns.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the entries of user *i* are ``starts[i]`` to ``starts[i + 1]``.
    columns : numpy.ndarray
        int64, shape (n_entries,): the items.
    weights : numpy.ndarray
        float32, shape (n_entries,): strength times recency, up to 1; 0 for what was seen and not
        liked.
    recency : numpy.ndarray
        float32, shape (n_entries,): 1 for the newest entry of a user, halving every 50 entries;
        1 for all where no times are known.
    assumed : numpy.ndarray
        bool, shape (n_entries,): entries that stand for what the user says, and were not seen.
    """

    starts: Columns
    columns: Columns
    weights: FloatArray
    recency: FloatArray
    assumed: Mask

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(
        cls,
        columns: Sequence[Columns],
        strengths: Sequence[FloatArray] | None = None,
        ages: Sequence[FloatArray] | None = None,
        assumed: Sequence[Mask] | None = None,
    ) -> UserHistories:
        """Make histories of lists.

        Parameters
        ----------
        columns : sequence of numpy.ndarray
            The items of each user, none twice.
        strengths : sequence of numpy.ndarray, optional
            How much each was liked, at most 1; by default 1.
        ages : sequence of numpy.ndarray, optional
            The place of each counted from the newest, which has 0; by default nothing has an age.
        assumed : sequence of numpy.ndarray, optional
            bool: what was not seen; by default everything was.
        """
        starts, flat = ragged(columns)
        strong = np.ones(len(flat)) if strengths is None else np.concatenate([[], *strengths])
        old = np.zeros(len(flat)) if ages is None else np.concatenate([[], *ages])
        guessed = np.zeros(len(flat)) if assumed is None else np.concatenate([[], *assumed])
        recency = 0.5 ** (old / HALF_LIFE)
        owner = np.repeat(np.arange(len(columns)), np.diff(starts))
        order = np.lexsort((flat, owner))
        return cls(
            starts,
            flat[order],
            (np.maximum(strong, 0) * recency)[order].astype(np.float32),
            recency[order].astype(np.float32),
            guessed[order].astype(bool),
        )

    @classmethod
    def of_matrix(cls, matrix: InteractionMatrix) -> UserHistories:
        """Take every user of a matrix, with their liked entries weighing, the others not.

        Strength is the value over the user's largest value; recency follows the order of times
        where every entry of the user has one.
        """
        owner = matrix.owners
        strengths = np.where(matrix.likes, matrix.strengths, 0.0)
        strengths = strengths / np.maximum(row_maxima(strengths, matrix.starts), 1e-12)[owner]
        order = np.lexsort((-matrix.moments, owner))
        ages = np.empty(len(matrix))
        ages[order] = np.arange(len(matrix)) - matrix.starts[owner[order]]
        untimed = np.bincount(owner, np.isnan(matrix.moments), len(matrix.users)) > 0
        recency = np.where(untimed[owner], 1.0, 0.5 ** (ages / HALF_LIFE))
        return cls(
            matrix.starts,
            matrix.columns,
            (strengths * recency).astype(np.float32),
            recency.astype(np.float32),
            np.zeros(len(matrix), bool),
        )

    @property
    def owners(self) -> Columns:
        """The user of each entry, shape (n_entries,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @property
    def liked(self) -> UserHistories:
        """The same without what was seen and not liked."""
        return self if self.weights.all() else self.keeping(self.weights > 0)

    @property
    def rows(self) -> SparseRows:
        """The weights of what was liked."""
        own = self.liked
        return SparseRows(own.starts, own.columns, own.weights)

    def seen(self, items: int) -> csr_array:
        """Give 1 for every entry that is not assumed, float32, shape (n_users, items)."""
        from scipy.sparse import csr_array

        seen = self.keeping(~self.assumed) if self.assumed.any() else self
        ones = np.ones(len(seen.columns), np.float32)
        return csr_array((ones, seen.columns, seen.starts), shape=(len(self), items))

    def strongest(self, n: int) -> UserHistories:
        """Keep the n entries of each user that weigh most, of equals the first."""
        owners = self.owners
        order = np.lexsort((-self.weights, owners))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order)) - self.starts[owners]
        return self.keeping(places < n)

    def keeping(self, kept: Mask) -> UserHistories:
        """Keep some entries, shape (n_entries,); users keep their places."""
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts]
        return replace(
            self,
            starts=starts,
            columns=self.columns[kept],
            weights=self.weights[kept],
            recency=self.recency[kept],
            assumed=self.assumed[kept],
        )

    def outside(self, items: Mask) -> UserHistories:
        """Drop the entries of some items, shape (n_items,); users keep their places."""
        return self.keeping(~items[self.columns])

    def of_users(self, users: Columns) -> UserHistories:
        """Take some users, in the order given."""
        lengths = self.starts[users + 1] - self.starts[users]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = ranges(self.starts[users], lengths)
        return UserHistories(
            starts,
            self.columns[entries],
            self.weights[entries],
            self.recency[entries],
            self.assumed[entries],
        )

    def counts(self, among: Mask | None = None) -> Columns:
        """Count the entries of each user, of those among some items where given."""
        counted = np.ones(len(self.columns)) if among is None else among[self.columns]
        return np.bincount(self.owners, counted, len(self)).astype(np.int64)
