"""Ahead: the next value is worked out in a thread while this one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(values: Iterator[A]) -> Iterator[A]:
    """Give the values of an iterator, the next one already under way in a thread.

    Examples
    --------
    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Any] = thread.submit(next, values, end)
        while (value := waiting.result()) is not end:
            waiting = thread.submit(next, values, end)
            yield value


def one_ahead(function: Callable[[A], B], pieces: Sequence[A]) -> Iterator[B]:
    """Apply a function to each piece, one piece ahead of the reader, in order.

    Examples
    --------
    >>> list(one_ahead(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    done = map(function, pieces)
    return done if len(pieces) <= 1 else ahead(done)  # a single query waits for no thread
