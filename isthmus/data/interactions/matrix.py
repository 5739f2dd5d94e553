"""Interactions as sparse matrices: one row per user, one column per item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.users.attributes import UserAttributes
from isthmus.schema import ITEM_ID, TIME, USER_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

US_PER_SECOND = 1e6

FindColumns = Callable[[Sequence[str]], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class InteractionMatrix:
    """Interactions as matrices in CSR form, shape (n_users, n_items).

    All events of one user and item are one entry. The value of an entry is the largest strength of
    its events, its time the latest. Every entry is *seen*. An entry is *liked* if one of its events
    is positive (see `Feedback`) and no later one is a dislike. Events of the weight 0 are left out.
    The entries of a row are ordered by column.

    Attributes
    ----------
    users : numpy.ndarray
        Ids of the users with at least one entry, ascending, shape (n_users,).
    items : int
        Number of columns.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): row *i* has the entries ``starts[i]`` to ``starts[i + 1]``.
    columns : numpy.ndarray
        int64, shape (n_entries,): the item of each entry.
    strengths : numpy.ndarray
        float32, shape (n_entries,): the value of each entry.
    moments : numpy.ndarray
        float64, shape (n_entries,): seconds since 1970, NaN where the time is unknown.
    likes : numpy.ndarray
        bool, shape (n_entries,): whether the entry is liked.
    attributes : UserAttributes, optional
        What is known of the users besides.
    """

    users: npt.NDArray[np.object_]
    items: int
    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    strengths: npt.NDArray[np.float32]
    moments: npt.NDArray[np.float64]
    likes: npt.NDArray[np.bool_]
    attributes: UserAttributes | None = None

    @classmethod
    def from_table(
        cls,
        interactions: pa.Table,
        find_columns: FindColumns,
        items: int,
        *,
        feedback: Feedback | None = None,
    ) -> InteractionMatrix:
        """Return the matrix of a table of interactions.

        Parameters
        ----------
        interactions : pyarrow.Table
            Columns user_id, item_id, event, value, weight and time; of events at one time, or
            without one, the later row is the later event.
        find_columns : callable
            Returns the column of each of some distinct item ids, int64, -1 for an item without
            one; interactions with such items are ignored.
        items : int
            Number of columns.
        feedback : Feedback, optional
            How events count; by default any value above zero is positive.
        """
        labels = (feedback or Feedback.plain(interactions)).label(interactions)
        names, rows = _codes(interactions.column(USER_ID))
        distinct, items_at = _codes(interactions.column(ITEM_ID))
        columns = np.asarray(find_columns(distinct), np.int64)[items_at]
        moments = _seconds(interactions)
        order = np.lexsort((np.nan_to_num(moments, nan=-np.inf), columns, rows))
        order = order[(columns[order] >= 0) & labels.used[order]]
        rows, columns = rows[order], columns[order]
        first = _run_starts(rows, columns)
        # Within an entry, the oldest event first: what counts is which kind came last.
        place = np.arange(1, len(order) + 1)
        liked_at = _reduce_runs(np.maximum, np.where(labels.liked[order], place, 0), first)
        disliked_at = _reduce_runs(np.maximum, np.where(labels.disliked[order], place, 0), first)
        entry_rows, columns = rows[first], columns[first]
        present, lengths = np.unique(entry_rows, return_counts=True)
        return cls(
            users=np.array(names, np.object_)[present],
            items=items,
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            columns=columns,
            strengths=_reduce_runs(np.maximum, labels.strengths[order], first),
            moments=_reduce_runs(np.fmax, moments[order], first),
            likes=liked_at > disliked_at,
        )

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users, and of items."""
        return len(self.users), self.items

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """The row of each entry, shape (n_entries,)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.starts))

    @property
    def values(self) -> csr_matrix:
        """The value of every entry, float32; zeros are stored explicitly."""
        return self._matrix(self.strengths)

    @property
    def times(self) -> csr_matrix:
        """The latest time of every entry, float64: seconds since 1970, NaN where unknown."""
        return self._matrix(self.moments)

    @property
    def seen(self) -> csr_matrix:
        """1 for every entry, float32."""
        return self._matrix(np.ones(len(self), np.float32))

    @property
    def liked(self) -> csr_matrix:
        """The values of the liked entries only, float32."""
        liked = self._select(self.likes)
        return liked._matrix(liked.strengths)

    def restricted_to(self, columns: npt.NDArray[np.bool_]) -> InteractionMatrix:
        """Return the entries in some columns only; users and columns keep their numbers.

        Parameters
        ----------
        columns : numpy.ndarray
            bool, shape (n_items,).
        """
        return self._select(columns[self.columns])

    def without(self, hidden: npt.NDArray[np.bool_]) -> InteractionMatrix:
        """Return all entries except some; users and columns keep their numbers.

        Parameters
        ----------
        hidden : numpy.ndarray
            bool, shape (n_entries,): the entries to leave out.
        """
        return self._select(~hidden)

    def with_attributes(self, users: pa.Table) -> InteractionMatrix:
        """Return the matrix with the attributes of its users; without any, where there are none.

        Parameters
        ----------
        users : pyarrow.Table
            user_id, and a column for each attribute.
        """
        if not len(users) or users.column_names == [USER_ID]:
            return self
        return replace(self, attributes=UserAttributes.from_table(users, self.users.tolist()))

    def rows_of(self, user_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each user, -1 for a user without entries, shape (len(user_ids),)."""
        ids = np.array(user_ids, np.object_)
        if not len(self.users):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self.users, ids), len(self.users) - 1)
        return np.where(self.users[at] == ids, at, -1).astype(np.int64)

    def _select(self, mask: npt.NDArray[np.bool_]) -> InteractionMatrix:
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(mask)])[self.starts],
            columns=self.columns[mask],
            strengths=self.strengths[mask],
            moments=self.moments[mask],
            likes=self.likes[mask],
        )

    def _matrix(self, data: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        return csr_matrix((data, self.columns, self.starts), self.shape)


def _codes(ids: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the distinct ids, ascending, and the index of each row's id in them, shape (n,)."""
    coded = ids.combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    ranks = np.empty(len(order), np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return coded.dictionary.take(order).to_pylist(), ranks[coded.indices.to_numpy()]


def _run_starts(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return where each pair of row and column begins; the pairs are sorted."""
    new = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    return np.flatnonzero(np.concatenate([[True], new])[: len(rows)])


def _reduce_runs(
    reduce: np.ufunc, data: npt.NDArray[Any], first: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    return reduce.reduceat(data, first) if len(first) else data[:0]


def _seconds(interactions: pa.Table) -> npt.NDArray[np.float64]:
    micros = pc.cast(interactions.column(TIME).cast(pa.int64()), pa.float64(), safe=False)
    return np.asarray(micros.fill_null(float("nan")).to_numpy(), np.float64) / US_PER_SECOND
