"""One-ahead: the next piece is prepared in a thread while this one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def one_ahead(function: Callable[[A], B], pieces: Sequence[A]) -> Iterator[B]:
    """Apply a function to each piece, one piece ahead of the reader, in order.

    Examples
    --------
    >>> list(one_ahead(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    if len(pieces) <= 1:  # no thread to start: a single query waits for nothing
        yield from map(function, pieces)
        return
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(function, pieces[0])
        for piece in pieces[1:]:
            following = thread.submit(function, piece)
            yield ahead.result()
            ahead = following
        yield ahead.result()
