"""Interactions as sparse matrices: a row for each user, a column for each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput
from isthmus.schema import ITEM_ID, TIME, USER_ID, VALUE, WEIGHT

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SECOND_US = 1e6

FindItems = Callable[[Sequence[str]], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class InteractionMatrix:
    """What each user did with each item, as matrices of shape (users, items).

    All that a user did with one item is one entry. Its value is the largest ``value * weight`` of
    these events, and its time the latest. An entry is *seen* in any case, and *liked* if the value
    of one of them, before its weight, is above zero, or reaches `positive_from` where that was
    given. Entries of a row are in the order of their columns.

    Attributes
    ----------
    users : numpy.ndarray
        User ids, sorted, shape (users,): those with at least one entry.
    items : int
        Number of columns.
    starts : numpy.ndarray
        int64, shape (users + 1,): the entries of row *i* are ``starts[i]`` to ``starts[i + 1]``.
    columns : numpy.ndarray
        int64, shape (entries,): the item of each entry.
    strengths : numpy.ndarray
        float32, shape (entries,): the value of each entry.
    moments : numpy.ndarray
        float64, shape (entries,): seconds since 1970, NaN where no time is known.
    likes : numpy.ndarray
        bool, shape (entries,): whether the entry is liked.
    """

    users: npt.NDArray[np.object_]
    items: int
    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    strengths: npt.NDArray[np.float32]
    moments: npt.NDArray[np.float64]
    likes: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        interactions: pa.Table,
        find: FindItems,
        items: int,
        *,
        positive_from: float | None = None,
    ) -> InteractionMatrix:
        """Make the matrix of a table of interactions.

        Parameters
        ----------
        interactions : pyarrow.Table
            Columns user_id, item_id, value, weight and time, in any order.
        find : callable
            Gives the column of each of some item ids (each asked for once), int64, -1 where it
            has none; interactions with these are passed over.
        items : int
            Number of columns.
        positive_from : float, optional
            Least value that is liked, above zero; by default all above zero are.

        Raises
        ------
        InvalidInput
            If `positive_from` is not above zero.
        """
        if positive_from is not None and not positive_from > 0:
            raise InvalidInput(f"positive_from is {positive_from}; give a value above zero")
        names, rows = _codes(interactions.column(USER_ID))
        distinct, items_at = _codes(interactions.column(ITEM_ID))
        columns = np.asarray(find(distinct), np.int64)[items_at]
        order = np.lexsort((columns, rows))
        order = order[columns[order] >= 0]
        rows, columns = rows[order], columns[order]
        first = _starts_of_runs(rows, columns)
        values = _numbers(interactions, VALUE)[order]
        strengths = values * _numbers(interactions, WEIGHT)[order]
        liked = values > 0 if positive_from is None else values >= np.float32(positive_from)
        entry_rows, columns = rows[first], columns[first]
        present, lengths = np.unique(entry_rows, return_counts=True)
        return cls(
            users=np.array(names, np.object_)[present],
            items=items,
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            columns=columns,
            strengths=_over_runs(np.maximum, strengths, first),
            moments=_over_runs(np.fmax, _seconds(interactions)[order], first),
            likes=_over_runs(np.logical_or, liked, first),
        )

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users, and of items."""
        return len(self.users), self.items

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """The row of each entry, shape (entries,)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.starts))

    @property
    def values(self) -> csr_matrix:
        """The value of every entry, float32; one of zero is stored all the same."""
        return self._matrix(self.strengths)

    @property
    def times(self) -> csr_matrix:
        """When every entry was last touched, float64: seconds since 1970, NaN where unknown."""
        return self._matrix(self.moments)

    @property
    def seen(self) -> csr_matrix:
        """1 for every entry, float32."""
        return self._matrix(np.ones(len(self), np.float32))

    @property
    def liked(self) -> csr_matrix:
        """The values of the liked entries alone, float32."""
        kept = self._only(self.likes)
        return kept._matrix(kept.strengths)

    def restricted_to(self, columns: npt.NDArray[np.bool_]) -> InteractionMatrix:
        """Give the entries in some columns alone; users and columns keep their numbers.

        Parameters
        ----------
        columns : numpy.ndarray
            bool, shape (items,): which columns.
        """
        return self._only(columns[self.columns])

    def without(self, hidden: npt.NDArray[np.bool_]) -> InteractionMatrix:
        """Give all entries but some; users and columns keep their numbers.

        Parameters
        ----------
        hidden : numpy.ndarray
            bool, shape (entries,): which to leave out.
        """
        return self._only(~hidden)

    def rows_of(self, user_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give the row of each user, or -1 where they have none, shape (len(user_ids),)."""
        wanted = np.array(user_ids, np.object_)
        if not len(self.users):
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(np.searchsorted(self.users, wanted), len(self.users) - 1)
        return np.where(self.users[at] == wanted, at, -1).astype(np.int64)

    def _only(self, kept: npt.NDArray[np.bool_]) -> InteractionMatrix:
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(kept)])[self.starts],
            columns=self.columns[kept],
            strengths=self.strengths[kept],
            moments=self.moments[kept],
            likes=self.likes[kept],
        )

    def _matrix(self, data: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        return csr_matrix((data, self.columns, self.starts), self.shape)


def _codes(ids: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Give the distinct ids, sorted, and the place of each row's id among them."""
    coded = ids.combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    places = np.empty(len(order), np.int64)
    places[order.to_numpy()] = np.arange(len(order))
    return coded.dictionary.take(order).to_pylist(), places[coded.indices.to_numpy()]


def _starts_of_runs(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Give where each pair of row and column begins; both are sorted."""
    new = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    return np.flatnonzero(np.concatenate([[True], new])[: len(rows)])


def _over_runs(
    how: np.ufunc, data: npt.NDArray[Any], first: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    return how.reduceat(data, first) if len(first) else data[:0]


def _numbers(interactions: pa.Table, name: str) -> npt.NDArray[np.float32]:
    return np.asarray(interactions.column(name).to_numpy(), np.float32)


def _seconds(interactions: pa.Table) -> npt.NDArray[np.float64]:
    micros = pc.cast(interactions.column(TIME).cast(pa.int64()), pa.float64(), safe=False)
    return np.asarray(micros.fill_null(float("nan")).to_numpy(), np.float64) / SECOND_US
