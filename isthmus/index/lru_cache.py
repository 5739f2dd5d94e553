"""A cache of the values that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from isthmus.forking import renew_lock

DEFAULT_SIZE = 32

Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """The most recently used values, by key; safe for threads.

    Parameters
    ----------
    max_size : int, default 32
        Number of values; the least recently used value is dropped first.

    Examples
    --------
    >>> cache = LRUCache[int]()
    >>> cache.get("a", lambda: 1), cache.get("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, max_size: int = DEFAULT_SIZE) -> None:
        self._max_size = max_size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()
        renew_lock(self)

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, key: Hashable) -> Value | None:
        """Return the value of a key, None if it is absent; it does not count as used."""
        with self._lock:
            return self._values.get(key)

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; compute and store it if it is absent.

        The lock is not held while `compute` runs, so two threads may compute one value.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = compute()
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._max_size:
                self._values.popitem(last=False)
        return value
