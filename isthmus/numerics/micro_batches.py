"""Micro-batches: what concurrent threads ask for is done together.

There is no waiting: what is asked for while nothing is done is done at once, and what comes
meanwhile makes the next batch. So a quiet process answers as quickly as it can, and a busy one does
many requests for little more than the price of one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from isthmus.forking import renew_lock

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item that waits for its result."""

    key: Hashable
    item: Item
    turn: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    result: Result | None = None
    error: BaseException | None = None


class MicroBatcher(Generic[Item, Result]):
    """Does what several threads ask for together; safe for threads, and after a fork.

    Parameters
    ----------
    work : callable
        Returns the result of each of some items.
    size : int
        Most items of a batch.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], size: int) -> None:
        self._work, self._size = work, size
        self._lock = threading.Lock()
        renew_lock(self)
        self._process = os.getpid()
        self._queue: list[_Waiting[Item, Result]] = []
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many items wait for the next batches."""
        return len(self._queue)

    def ask(self, item: Item, key: Hashable = None) -> Result:
        """Return the result of an item; items of one batch have equal keys."""
        one: _Waiting[Item, Result] = _Waiting(key, item)
        with self._lock:
            if self._process != os.getpid():  # the threads of the parent are not here
                self._process, self._queue, self._busy = os.getpid(), [], False
            self._queue.append(one)
            one.leads = not self._busy
            self._busy = True
        if not one.leads:
            one.turn.wait()
        if one.leads:
            self._lead()
        if one.error is not None:
            raise one.error
        return one.result  # type: ignore[return-value]  # there is one without an error

    def _lead(self) -> None:
        """Do one batch, then let the first who waits do the next."""
        with self._lock:
            first = self._queue[0].key
            alike = [one for one in self._queue if one.key == first][: self._size]
            chosen = set(map(id, alike))
            self._queue = [one for one in self._queue if id(one) not in chosen]
        try:
            self._fill(alike)
        finally:
            with self._lock:
                self._busy = bool(self._queue)
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].turn.set()
            for one in alike:
                one.turn.set()

    def _fill(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = self._work([one.item for one in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:  # so that one that is refused fails no other
                self._fill([one])
            return
        except BaseException as error:
            for one in batch:
                one.error = error
            raise
        for one, result in zip(batch, results, strict=True):
            one.result = result
