"""Pages: a longer list begins with the shorter one, and a cursor goes on where a list ended.

A list is made in windows of 10, 100, 1,000, ... places (recommendations of 20, 200, ...). The
places of a window go on where those of the window before end: with what the list of that length
has, less what is there, and with the domains whose turn it is. So what stands at a place depends on
its window and not on the length that is asked for, whatever the index, the candidate pool, the
ranker, the quotas or the diversity. An item that only a wider search finds comes after the window
before. Equal scores are ordered by domain, then item id.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.ids import is_whole
from isthmus.index.ann.exact import empty_result
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.requests import PLAIN, defaults_of, is_default
from isthmus.retrieval.search.query import NO_ROWS, ScoredRows, carry_scores
from isthmus.retrieval.search.request import PageOptions
from isthmus.retrieval.search.results import Hit, Hits

FIRST_WINDOW: Final = 10
GROWTH: Final = 10
NOT_IN_CURSOR: Final = frozenset({"k", "offset", "cursor", "attributes", "explain", "log"})

MakeLists = Callable[[int, Sequence[ScoredRows]], Sequence[ScoredRows]]
"""Returns for each query the rows and scores of a list of a length, given the shorter lists."""

MakeBlock = Callable[[int], tuple[Positions, FloatArray]]
"""Returns the rows and scores of a list of a length for each query, shape (n_queries, length)."""


def windows(n: int, first: int = FIRST_WINDOW) -> Iterator[int]:
    """Return the windows that a list of n is made of.

    Examples
    --------
    >>> list(windows(7)), list(windows(60))
    ([10], [10, 100])
    """
    window = first
    yield window
    while window < n:
        window *= GROWTH
        yield window


def lists_in_windows(n: int, make_lists: MakeLists, first: int = FIRST_WINDOW) -> list[ScoredRows]:
    """Return the first n places of a list for each query, made window by window."""
    lists: list[ScoredRows] = []
    if n <= first:
        return [(rows[:n], scores[:n]) for rows, scores in make_lists(first, lists)]
    for window in windows(n, first):
        longer = make_lists(window, lists)
        before = lists or [NO_ROWS] * len(longer)
        lists = [_extended(*pair, window) for pair in zip(before, longer, strict=True)]
        if all(len(rows) < window for rows, _ in longer):
            break
    return [(rows[:n], scores[:n]) for rows, scores in lists]


def block_in_windows(
    n: int, make_block: MakeBlock, first: int = FIRST_WINDOW
) -> tuple[Positions, FloatArray]:
    """Return the first n places of a list for each query, as `lists_in_windows` does, in arrays.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n_queries, at most n); -1 and -inf where there are no more items.
    """
    if n <= first:
        rows, scores = make_block(first)
        return rows[:, :n], scores[:, :n]
    lists = lists_in_windows(n, lambda window, _: _as_lists(*make_block(window)), first)
    rows, scores = empty_result(len(lists), n)[::-1]
    for at, (of_query, found) in enumerate(lists):
        rows[at, : len(of_query)], scores[at, : len(of_query)] = of_query, found
    return rows, scores


def _as_lists(rows: Positions, scores: FloatArray) -> list[ScoredRows]:
    lengths = (rows >= 0).sum(axis=1).tolist()
    return [(r[:n], s[:n]) for r, s, n in zip(rows, scores, lengths, strict=True)]


def _extended(before: ScoredRows, longer: ScoredRows, window: int) -> ScoredRows:
    if not len(before[0]):
        return longer[0][:window], longer[1][:window]
    new = ~np.isin(longer[0], before[0])
    scores = carry_scores(before, *longer)
    rows = np.concatenate([before[0], longer[0][new]])[:window]
    return rows, np.concatenate([before[1], scores[new]])[:window]


@dataclass(frozen=True)
class Cursor:
    """Where a list ended.

    Attributes
    ----------
    release : int
        The release that answered; 0 before the first.
    request : str
        Digest of the request.
    offset : int
        Places before the next page.
    item_id : str
        The last item.
    moment : int
        When the first page was made, in milliseconds since 1970; 0 where the list does not depend
        on the time.
    """

    release: int
    request: str
    offset: int
    item_id: str
    moment: int = 0

    def __str__(self) -> str:
        values = [self.release, self.request, self.offset, self.item_id, self.moment]
        text = json.dumps(values)
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor.

        Raises
        ------
        InvalidInput
            If it is none.
        """
        try:
            padded = text + "=" * (-len(text) % 4)
            values = json.loads(base64.b64decode(padded.encode(), b"-_", validate=True))
            release, request, offset, item_id, moment = values
            given = tuple(map(type, values))
        except (binascii.Error, ValueError, TypeError) as error:
            raise InvalidInput(NO_CURSOR.format(text[:40])) from error
        if given != (int, str, int, str, int) or offset < 1 or not 0 <= moment < MAX_MOMENT:
            raise InvalidInput(NO_CURSOR.format(text[:40]))
        return cls(release, request, offset, item_id, moment)


MAX_MOMENT: Final = 10**14  # in milliseconds, in the year 5138
NO_CURSOR: Final = "{!r} is no cursor; give the cursor of an answer, as it was returned"


class Pager:
    """The page of a list that a request asks for.

    Parameters
    ----------
    view : View
        What is searched.
    request : PageOptions
        The request.
    extra : object, optional
        What else the list depends on, such as the history of a user.
    timed : bool
        Whether the list depends on the moment at which its first page is made.

    Raises
    ------
    InvalidInput
        If the cursor is of another release or request.
    """

    def __init__(
        self, view: View, request: PageOptions, extra: object = None, *, timed: bool = False
    ) -> None:
        self._view, self._request = view, request
        self._release = view.release_number
        self._asked = arguments_of(request, extra)
        self._cursor = None if request.cursor is None else self._valid(request.cursor)
        self._moment = 0
        if timed:
            first = self._cursor.moment if self._cursor is not None else 0
            self._moment = first or time.time_ns() // 1_000_000

    @property
    def moment(self) -> float:
        """When the first page of the list was made, in seconds since 1970."""
        return self._moment / 1_000

    def _valid(self, text: str) -> Cursor:
        cursor = Cursor.parse(text)
        if cursor.release != self._release:
            raise InvalidInput(
                f"the cursor is of release {cursor.release}, and release {self._release} is "
                "current now; ask for the first page again, without a cursor"
            )
        if cursor.request != _digest_of(self._asked):
            raise InvalidInput(
                "the cursor is of another request; a next page has the same query, filter and "
                "options as the first"
            )
        return cursor

    def page(
        self, make_lists: MakeLists, first: int = FIRST_WINDOW, *, whole: bool = False
    ) -> tuple[int, ScoredRows]:
        """Return how many places are before the page, and its rows and scores.

        A list whose places do not depend on its length (`whole`) is one window.

        After a cursor the page begins behind the last item of the page before, wherever that
        stands now; if it is gone, at its place.
        """
        k, offset = self._request.k, self._request.offset
        if k is None:
            rows, scores = make_lists(0, [])[0]
            return offset, (rows[offset:], scores[offset:])
        if self._cursor is not None:
            offset, last = self._cursor.offset, self._view.find([self._cursor.item_id])[0]
            rows, _ = lists_in_windows(offset + k, make_lists, offset + k if whole else first)[0]
            at = np.flatnonzero((rows == last) & (last >= 0))
            # Where the last item is gone, what followed it moved up to its place.
            offset = int(at[0]) + 1 if len(at) else offset - int(last < 0)
        rows, scores = lists_in_windows(offset + k, make_lists, offset + k if whole else first)[0]
        return offset, (rows[offset : offset + k], scores[offset : offset + k])

    def hits(self, hits: Sequence[Hit], offset: int, notes: Sequence[str] = ()) -> Hits:
        """Return a page with the cursor of the next; a page that is not full has none."""
        cursor = None
        if hits and self._request.k is not None and len(hits) == self._request.k:
            end = offset + len(hits)
            last = hits[-1].item_id
            cursor = partial(_cursor_text, self._release, self._asked, end, last, self._moment)
        return Hits(hits, notes, cursor, self._release)


def arguments_of(request: PageOptions, extra: object = None) -> list[Any]:
    """Return what a request asks, whatever the page: its arguments that are not the defaults."""
    defaults = defaults_of(type(request))
    arguments = {
        name: _plain(value)
        for name in request.model_fields_set - NOT_IN_CURSOR
        if not is_default(value := getattr(request, name), defaults[name])
    }
    if request.quotas and any(map(is_whole, request.quotas.values())):
        arguments["page"] = request.k  # a number of places is that of a page
    return [arguments, None if extra is None else repr(extra)]


def _digest_of(arguments: list[Any]) -> str:
    return digest(json.dumps(arguments, sort_keys=True, default=_text_of)).hex()[:16]


def _text_of(value: object) -> str:
    return digest(value).hex() if isinstance(value, bytes) else str(value)


def _cursor_text(release: int, arguments: list[Any], offset: int, item_id: str, moment: int) -> str:
    return str(Cursor(release, _digest_of(arguments), offset, item_id, moment))


def _plain(value: Any) -> Any:
    """Return a value that is equal for equal contents; other objects count by their type."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if hasattr(value, "tobytes") or _is_vector(value):  # a list of numbers is the same vector
        return np.asarray(value, np.float32).tobytes()
    return value if isinstance(value, (*PLAIN, bytes)) else type(value).__name__


def _is_vector(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], int | float)
