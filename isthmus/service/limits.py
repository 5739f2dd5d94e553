"""Limits of requests: what their arguments may ask for, and how many run at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final, TypeGuard

import pyarrow as pa

from isthmus.errors import Busy, InvalidInput, RequestTooLarge, TooManyRequests
from isthmus.service.keys import Key
from isthmus.service.settings import Limits

COUNTED: Final = ("vectors", "users", "item_ids", "like", "unlike", "attributes")
ROWS: Final = ("items", "source", "events")


def check_arguments(arguments: Mapping[str, Any], limits: Limits) -> None:
    """Refuse arguments that ask for too much.

    Raises
    ------
    InvalidInput
        If one is above a limit; the message names both.
    """
    k, offset = arguments.get("k", 10), arguments.get("offset", 0)
    if "k" in arguments and k is None:
        raise InvalidInput(f"k is None; give a k of at most {limits.max_k} to a service")
    if k is not None and k + offset > limits.max_k:
        beyond = f" beyond an offset of {offset}" if offset else ""
        raise InvalidInput(f"k is {k}{beyond}; this service answers at most {limits.max_k}")
    for name in ("num_candidates", "rerank_depth", "group_size", "limit"):
        value = arguments.get(name)
        if value is not None and value > limits.max_candidates:
            raise InvalidInput(f"{name} is {value}; give at most {limits.max_candidates}")
    for names, most in ((COUNTED, limits.max_batch), (ROWS, limits.max_rows)):
        for name in names:
            value = arguments.get(name)
            if _is_counted(value) and len(value) > most:
                raise InvalidInput(f"{name} has {len(value)} entries; give at most {most}")


def require_size(size: int, most: int) -> None:
    """Raise `RequestTooLarge` if a body has too many bytes."""
    if size > most:
        raise RequestTooLarge(f"the body has more than {most} bytes; send less at a time")


def _is_counted(value: Any) -> TypeGuard[Sized]:
    """Return whether an argument has entries: rows, ids or vectors, in a list or a table."""
    return isinstance(value, Sequence | pa.Table) and not isinstance(value, str)


class Slots:
    """Places of requests that run at a time, of all and of each key; for one thread.

    Parameters
    ----------
    limits : Limits
        How many.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_key: Counter[str] = Counter()
        self.taken = 0

    def take(self, key: Key) -> None:
        """Take a place for a request.

        Raises
        ------
        TooManyRequests
            If the key has all of its own.
        Busy
            If none is free.
        """
        most = key.max_concurrent or self._limits.max_concurrent_per_key
        if self._of_key[key.id] >= most:
            raise TooManyRequests(
                f"this key has {most} requests at a time, and no more; try again in a second"
            )
        if self.taken >= self._limits.max_concurrent:
            raise Busy("the service has all that it can do; try again in a second")
        self._of_key[key.id] += 1
        self.taken += 1

    def release(self, key: Key) -> None:
        """Release a place."""
        self._of_key[key.id] -= 1
        if not self._of_key[key.id]:
            del self._of_key[key.id]
        self.taken -= 1
