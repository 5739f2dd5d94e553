"""User histories: the items of the users that are recommended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.users.attributes import UserAttributes
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import (
    concatenate_ranges,
    lengths_of,
    pack_ragged,
    row_max,
    starts_of,
)
from isthmus.numerics.sparse_rows import SparseRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

HALF_LIFE = 50.0  # entries after which recency halves


@dataclass(frozen=True, eq=False)
class UserHistories:
    """The items of many users, as rows of a sparse matrix; columns ascend within a user.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the entries of user *i* are ``starts[i]`` to ``starts[i + 1]``.
    columns : numpy.ndarray
        int64, shape (n_entries,): the items.
    weights : numpy.ndarray
        float32, shape (n_entries,): strength times recency, at most 1; 0 for items that were seen
        and not liked.
    recency : numpy.ndarray
        float32, shape (n_entries,): 1 for the newest entry of a user, halved every 50 entries;
        1 for all entries of users without times.
    assumed : numpy.ndarray
        bool, shape (n_entries,): items that stand for a text the user gave. The user has not
        seen them, so they may be recommended.
    attributes : UserAttributes, optional
        What is known of the users besides their histories.
    """

    starts: Columns
    columns: Columns
    weights: FloatArray
    recency: FloatArray
    assumed: Mask
    attributes: UserAttributes | None = None

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.starts) - 1

    @classmethod
    def from_lists(
        cls,
        columns: Sequence[Columns],
        strengths: Sequence[FloatArray] | None = None,
        ages: Sequence[FloatArray] | None = None,
        assumed: Sequence[Mask] | None = None,
    ) -> UserHistories:
        """Return the histories that lists of items describe.

        Parameters
        ----------
        columns : sequence of numpy.ndarray
            The items of each user, without repetition.
        strengths : sequence of numpy.ndarray, optional
            How much each item was liked, at most 1; by default 1.
        ages : sequence of numpy.ndarray, optional
            The rank of each item by time, 0 for the newest; by default all are 0.
        assumed : sequence of numpy.ndarray, optional
            bool: whether the item was not seen; by default all were seen.
        """
        starts, flat = pack_ragged(columns)
        strength = np.ones(len(flat)) if strengths is None else np.concatenate([[], *strengths])
        age = np.zeros(len(flat)) if ages is None else np.concatenate([[], *ages])
        unseen = np.zeros(len(flat)) if assumed is None else np.concatenate([[], *assumed])
        recency = 0.5 ** (age / HALF_LIFE)
        owners = np.repeat(np.arange(len(columns)), lengths_of(starts))
        order = np.lexsort((flat, owners))
        return cls(
            starts,
            flat[order],
            (np.maximum(strength, 0) * recency)[order].astype(np.float32),
            recency[order].astype(np.float32),
            unseen[order].astype(bool),
        )

    @classmethod
    def from_interactions(cls, matrix: InteractionMatrix) -> UserHistories:
        """Return the history of every user of a matrix; entries that are not liked weigh 0.

        Strength is the value over the user's largest value. Recency follows the order of times
        where every entry of the user has one.
        """
        owners = matrix.owners
        strengths = np.where(matrix.likes, matrix.strengths, 0.0)
        strengths = strengths / np.maximum(row_max(strengths, matrix.starts), 1e-12)[owners]
        order = np.lexsort((-matrix.moments, owners))  # newest first within a user
        ages = np.empty(len(matrix))
        ages[order] = np.arange(len(matrix)) - matrix.starts[owners[order]]
        untimed = np.bincount(owners, np.isnan(matrix.moments), len(matrix.users)) > 0
        recency = np.where(untimed[owners], 1.0, 0.5 ** (ages / HALF_LIFE))
        return cls(
            matrix.starts,
            matrix.columns,
            (strengths * recency).astype(np.float32),
            recency.astype(np.float32),
            np.zeros(len(matrix), bool),
            matrix.attributes,
        )

    @classmethod
    def from_matrix(cls, liked: csr_array) -> UserHistories:
        """Return the histories of rows of a matrix, columns ascending; every entry weighs 1."""
        ones = np.ones(liked.nnz, np.float32)
        starts, columns = liked.indptr.astype(np.int64), liked.indices.astype(np.int64)
        return cls(starts, columns, ones, ones, np.zeros(liked.nnz, bool))

    @cached_property
    def owners(self) -> Columns:
        """The user of each entry, shape (n_entries,)."""
        return np.repeat(np.arange(len(self)), lengths_of(self.starts))

    @cached_property
    def liked(self) -> UserHistories:
        """The histories without items that were seen and not liked."""
        return self if self.weights.all() else self.filter(self.weights > 0)

    @cached_property
    def rows(self) -> SparseRows:
        """The weights of the liked items."""
        liked = self.liked
        return SparseRows(liked.starts, liked.columns, liked.weights)

    @property
    def ones(self) -> SparseRows:
        """1 for every entry."""
        return SparseRows(self.starts, self.columns, np.ones(len(self.columns), np.float32))

    def binary(self, n_items: int) -> csr_array:
        """Return 1 for every entry, float32, shape (n_users, n_items)."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.columns), np.float32)
        return csr_array((ones, self.columns, self.starts), shape=(len(self), n_items))

    def seen(self, n_items: int) -> csr_array:
        """Return 1 for every entry that is not assumed, float32, shape (n_users, n_items)."""
        return (self.filter(~self.assumed) if self.assumed.any() else self).binary(n_items)

    def weights_matrix(self, n_items: int) -> csr_array:
        """Return the weights of the liked items, float32, shape (n_users, n_items)."""
        from scipy.sparse import csr_array

        rows = self.rows
        return csr_array((rows.values, rows.columns, rows.starts), shape=(len(self), n_items))

    def top_weighted(self, n: int) -> UserHistories:
        """Return the n entries of each user with the largest weights; ties keep the first."""
        owners = self.owners
        order = np.lexsort((-self.weights, owners))
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order)) - self.starts[owners]
        return self.filter(ranks < n)

    def filter(self, mask: Mask) -> UserHistories:
        """Return the entries where a mask of shape (n_entries,) is true; users stay."""
        if mask.all():
            return self
        return UserHistories(
            starts_of(mask)[self.starts],
            self.columns[mask],
            self.weights[mask],
            self.recency[mask],
            self.assumed[mask],
            self.attributes,
        )

    def without_items(self, items: Mask) -> UserHistories:
        """Return the entries of other items than those of a mask of shape (n_items,)."""
        return self.filter(~items[self.columns])

    def first_items(self, n_items: int) -> UserHistories:
        """Return the entries of the first items: those a model was fitted to, not newer ones."""
        if not len(self.columns) or int(self.columns.max()) < n_items:
            return self
        return self.filter(self.columns < n_items)

    def take_users(self, users: Columns) -> UserHistories:
        """Return the histories of some users, shape (n_users,), in the order given."""
        lengths = self.starts[users + 1] - self.starts[users]
        starts = starts_of(lengths)
        entries = concatenate_ranges(self.starts[users], lengths)
        return UserHistories(
            starts,
            self.columns[entries],
            self.weights[entries],
            self.recency[entries],
            self.assumed[entries],
            None if self.attributes is None else self.attributes.take(users),
        )

    def counts(self, among: Mask | None = None) -> Columns:
        """Return the entries of each user, (n_users,), of a mask, (n_items,), only where given."""
        if among is None:
            return lengths_of(self.starts)
        return np.bincount(self.owners, among[self.columns], len(self)).astype(np.int64)
