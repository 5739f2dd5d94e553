"""Attributes of users as sets of keys, so that no vocabulary has to be known in advance.

An attribute with its value becomes one or several labels, and a label the 64-bit key of its digest.
A number counts at several precisions: 1984 is also the 1980s and the 1900s, so that close values
have a key in common. A text is itself, and its words. A missing value has no key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from isthmus.digests import digest, keys_of
from isthmus.numerics.arrays import Columns
from isthmus.numerics.sparse import concatenate_ranges, pack_ragged
from isthmus.schema import USER_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIGITS = (1, 2, 3, 4)  # significant digits of numbers
MAX_WORDS = 64
MAX_TEXT = 64  # characters of a text that counts as a whole
WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class UserAttributes:
    """What is known of many users besides their histories: a set of keys each.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the keys of user *i* are ``starts[i]`` to ``starts[i + 1]``.
    keys : numpy.ndarray
        int64, shape (n_keys,), ascending within a user, none twice.
    """

    starts: Columns
    keys: Columns

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, users: Sequence[Mapping[str, Any]]) -> UserAttributes:
        """Return the keys of users, given their attributes by name."""
        known: dict[tuple[str, str, Any], Columns] = {}
        rows = []
        for attributes in users:
            parts = [_keys(name, value, known) for name, value in attributes.items()]
            rows.append(np.unique(np.concatenate([np.zeros(0, np.int64), *parts])))
        return cls(*pack_ragged(rows))

    @classmethod
    def from_table(cls, users: pa.Table, user_ids: Sequence[str]) -> UserAttributes:
        """Return the keys of users in the order of the ids; a user that is absent has none.

        Parameters
        ----------
        users : pyarrow.Table
            user_id, and a column for each attribute.
        user_ids : sequence of str
            The users, each once.
        """
        rows = {row.pop(USER_ID): row for row in users.to_pylist()}
        return cls.of([rows.get(user, {}) for user in user_ids])

    @property
    def known(self) -> Columns:
        """The number of keys of each user, shape (n_users,)."""
        return np.diff(self.starts)

    def take(self, users: Columns) -> UserAttributes:
        """Return the keys of some users, shape (n_users,), in the order given."""
        lengths = self.known[users]
        entries = concatenate_ranges(self.starts[users], lengths)
        return UserAttributes(np.concatenate([[0], np.cumsum(lengths)]), self.keys[entries])

    def frequent(self, min_users: int, at_most: int) -> Columns:
        """Return the keys, (n_keys,), that enough users have, and not all of them, ascending.

        Parameters
        ----------
        min_users : int
            Users that have a key, at least.
        at_most : int
            Number of keys, at most: those of the most users.
        """
        keys, counts = np.unique(self.keys, return_counts=True)
        informative = (counts >= min_users) & (counts < len(self))
        keys, counts = keys[informative], counts[informative]
        return np.sort(keys[np.argsort(-counts, kind="stable")[:at_most]])

    def matrix(self, keys: Columns) -> csr_array:
        """Return 1 where a user has a key, float32, shape (n_users, len(keys)).

        Parameters
        ----------
        keys : numpy.ndarray
            int64, ascending; others are passed over.
        """
        from scipy.sparse import csr_array

        places = np.searchsorted(keys, self.keys)
        among = places < len(keys)
        among[among] = keys[places[among]] == self.keys[among]
        starts = np.concatenate([[0], np.cumsum(among)])[self.starts]
        ones = np.ones(int(among.sum()), np.float32)
        return csr_array((ones, places[among], starts), shape=(len(self), len(keys)))


def labels_of(name: str, value: Any) -> Iterator[str]:
    """Yield the labels of an attribute with a value, see the module.

    Examples
    --------
    >>> list(labels_of("country", "NL")), list(labels_of("member", True))
    (['country=nl'], ['member=true'])
    >>> list(labels_of("born", 1984))
    ['born~1000', 'born~1900', 'born~1980', 'born~1984']
    >>> list(labels_of("note", "Likes opera")), list(labels_of("note", None))
    (['note=likes opera', 'note:likes', 'note:opera'], [])
    """
    if isinstance(value, bool):
        yield f"{name}={value}".lower()
    elif isinstance(value, int | float | Decimal):
        yield from (f"{name}~{bin_}" for bin_ in _bins(float(value)))
    elif isinstance(value, date):
        yield from (f"{name}={value.year}", f"{name}={value.year}-{value.month}")
    elif isinstance(value, str):
        text = value.strip().lower()
        if 0 < len(text) <= MAX_TEXT:
            yield f"{name}={text}"
        words = list(dict.fromkeys(WORD.findall(text)))[:MAX_WORDS]
        if len(words) > 1:
            yield from (f"{name}:{word}" for word in words)
    elif isinstance(value, Mapping):
        for field, inner in value.items():
            yield from labels_of(f"{name}.{field}", inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from labels_of(name, inner)


def _keys(name: str, value: Any, known: dict[tuple[str, str, Any], Columns]) -> Columns:
    """Return the keys of an attribute with a value; those of plain values are looked up."""
    if not isinstance(value, str | int | float | bool):
        return _digests(name, value)
    entry = (name, type(value).__name__, value)
    if entry not in known:
        known[entry] = _digests(name, value)
    return known[entry]


def _digests(name: str, value: Any) -> Columns:
    return keys_of(map(digest, labels_of(name, value))).view(np.int64)


def _bins(number: float) -> list[str]:
    """Return a number rounded towards 0 to one significant digit, two, and so on."""
    if not math.isfinite(number):
        return []
    if number == 0:
        return ["0"]
    size = math.floor(math.log10(abs(number)))
    bins = []
    for digits in DIGITS:
        step = 10.0 ** (size + 1 - digits)
        whole = math.trunc(number / step + math.copysign(1e-9, number))
        bins.append(f"{whole * step:.6g}")
    return list(dict.fromkeys(bins))
