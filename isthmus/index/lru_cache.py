"""A small memory of what was worked out lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

KEPT = 32

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were used last, by key; threads may share it.

    Parameters
    ----------
    kept : int, default 32
        How many.

    Examples
    --------
    >>> recent = Recent[int]()
    >>> recent.get("a", lambda: 1), recent.get("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Give the value of a key, made now if it is not known; the oldest is forgotten."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._kept:
                self._values.popitem(last=False)
        return value
