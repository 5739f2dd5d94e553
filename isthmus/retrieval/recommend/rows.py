"""Rows of a page: several titled lists for one user, with no item twice.

The rows come in this order: for the user, because of items of the history, categories, new items,
popular items. An item stands in the first row that has it. A row without enough items is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from isthmus.index.catalog.attributes import Attributes
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.retrieval.recommend.request import RecommendRowsRequest
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.facets import require_attribute
from isthmus.retrieval.search.query import ScoredRows
from isthmus.retrieval.search.results import Hit, make_hits
from isthmus.retrieval.search.titles import titles_of_items

RowKind = Literal["for_you", "because", "category", "new", "popular"]

CATEGORY_ATTRIBUTES: Final = ("category", "categories", "genre", "genres", "section", "type")
LOOKED_AT: Final = 20  # places of the user's list for each place of a row of a category
MAX_LOOKED_AT: Final = 400

ListOf = Callable[[User, int, Mask | None], ScoredRows]
"""Returns the list of a user: so many places, of the rows of a mask or of all."""


@dataclass(frozen=True)
class Row:
    """A titled list of a page.

    Attributes
    ----------
    kind : str
        ``for_you``, ``because``, ``category``, ``new`` or ``popular``.
    title : str
        In English; the other attributes are for a title in another language.
    hits : tuple of Hit
        Best first.
    item_id : str or None
        The item of the history that a row is because of.
    attribute, value : str or None, object
        Of a category.
    """

    kind: RowKind
    title: str
    hits: tuple[Hit, ...]
    item_id: str | None = None
    attribute: str | None = None
    value: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {**asdict(self), "hits": [hit.as_dict() for hit in self.hits]}


class Rows(list[Row]):
    """The rows of a page: a list, with what is to be said of it.

    Attributes
    ----------
    notes : tuple of str
        What the reader should know.
    release : int
        The release that answered; 0 before the first.
    """

    def __init__(
        self, rows: Iterable[Row] = (), notes: Iterable[str] = (), release: int = 0
    ) -> None:
        super().__init__(rows)
        self.notes, self.release = tuple(notes), release

    def as_dict(self) -> dict[str, Any]:
        """Return the page as plain values."""
        rows = [row.as_dict() for row in self]
        return {"rows": rows, "notes": list(self.notes), "release": self.release}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What rows that are the same for everybody are made of.

    Attributes
    ----------
    allowed, new : numpy.ndarray
        bool, shape (n_rows,): what may be recommended, and what of it is new.
    popularity : numpy.ndarray
        float, shape (n_rows,): 0 for what nobody used.
    """

    allowed: Mask
    new: Mask
    popularity: FloatArray


class RowMaker:
    """Makes the rows of one page.

    Parameters
    ----------
    view : View
        The items.
    request : RecommendRowsRequest
        What is asked for.
    user : User
        The user, with the stored history.
    list_of : callable
        Makes personal lists.
    catalogue : Catalogue
        The items.
    """

    def __init__(
        self,
        view: View,
        request: RecommendRowsRequest,
        user: User,
        list_of: ListOf,
        catalogue: Catalogue,
    ) -> None:
        self._view, self._request, self._user = view, request, user
        self._list_of, self._catalogue = list_of, catalogue
        self._taken = np.zeros(len(view.living.rows), bool)
        known = view.find([entry.item_id for entry in user.history])
        self._taken[known[known >= 0]] = True

    def rows(self) -> list[Row]:
        """Return the rows, at most as many as asked for."""
        rows: list[Row] = []
        for row in self._all():
            rows.append(row)
            if len(rows) == self._request.n_rows:
                break
        return rows

    def _all(self) -> Iterator[Row]:
        yield from self._row("for_you", "Recommended for you", self._personal(self._user), 1)
        yield from self._because()
        yield from self._categories()
        new = self._catalogue.new & self._catalogue.allowed
        if new.any():
            yield from self._row("new", "New", self._personal(self._user, new), 1)
        yield from self._row("popular", "Popular", self._popular(), 1)

    def _row(
        self,
        kind: RowKind,
        title: str,
        found: ScoredRows,
        least: int,
        **named: Any,
    ) -> Iterator[Row]:
        """Yield a row of what is in no other row yet, if that is enough."""
        rows, scores = found
        free = ~self._taken[rows]
        rows, scores = rows[free][: self._request.k], scores[free][: self._request.k]
        if len(rows) < least:
            return
        self._taken[rows] = True
        hits = make_hits(self._view, rows, scores, attributes=self._request.attributes)
        yield Row(kind, title, tuple(hits), **named)

    @property
    def _enough(self) -> int:
        """Items that a row of its own topic must have."""
        return max(1, (self._places + 1) // 2)

    @property
    def _places(self) -> int:
        return self._request.k or 1

    def _personal(self, user: User, among: Mask | None = None) -> ScoredRows:
        return self._list_of(user, self._places + int(self._taken.sum()), among)

    def _because(self) -> Iterator[Row]:
        """Yield a row for each of the last items of the history that were liked."""
        liked = [entry.item_id for entry in reversed(self._user.history) if entry.value > 0]
        chosen = list(dict.fromkeys(liked))
        there = (self._view.find(chosen) >= 0).tolist()
        chosen = [item for item, known in zip(chosen, there, strict=True) if known]
        chosen = chosen[: self._request.because]
        titles = titles_of_items(self._view, chosen)
        for item_id in chosen:
            found = self._personal(User([item_id], id=self._user.id))
            title = f"Because you liked {titles[item_id]}"
            yield from self._row("because", title, found, self._enough, item_id=item_id)

    def _categories(self) -> Iterator[Row]:
        """Yield a row for each value of the attribute that the user's list has most of."""
        by = self._attribute(self._view.snapshot.attributes)
        if by is None or not self._request.categories:
            return
        n = min(LOOKED_AT * self._places, MAX_LOOKED_AT) + int(self._taken.sum())
        rows, scores = self._list_of(self._user, n, None)
        free = ~self._taken[rows]
        rows, scores = rows[free], scores[free]
        values: dict[tuple[str, Any], list[int]] = {}
        for at, hit in enumerate(make_hits(self._view, rows, scores, attributes=True)):
            value = hit.attributes.get(by)
            for one in dict.fromkeys(value) if isinstance(value, list) else [value]:
                if one is not None and isinstance(one, str | int | float | bool):
                    values.setdefault((type(one).__name__, one), []).append(at)
        weights = {value: float(scores[places].sum()) for value, places in values.items()}
        made = 0
        for (kind, value), places in sorted(
            values.items(), key=lambda one: (-weights[one[0]], one[0][0], str(one[0][1]))
        ):
            del kind
            if made == self._request.categories:
                return
            found = rows[places], scores[places]
            named = {"attribute": by, "value": value}
            for row in self._row("category", str(value), found, self._enough, **named):
                made += 1
                yield row

    def _attribute(self, attributes: Attributes) -> str | None:
        """Return the attribute of categories; None where there is none."""
        if self._request.by is not None:
            require_attribute(attributes, self._request.by)
            return self._request.by
        known = {name.casefold(): name for name in attributes.names}
        return next((known[name] for name in CATEGORY_ATTRIBUTES if name in known), None)

    def _popular(self) -> ScoredRows:
        counts = np.where(self._catalogue.allowed & ~self._taken, self._catalogue.popularity, 0)
        rows = _largest(counts, self._places, self._view)
        return rows, counts[rows].astype(np.float32)


def _largest(values: FloatArray, n: int, view: View) -> Positions:
    """Return the rows of the n largest values above 0; of equal ones, those whose id is first."""
    rows = np.flatnonzero(values > 0)
    if len(rows) > n:
        least = np.partition(values[rows], -n)[-n]
        rows = rows[values[rows] >= least]
    ids: Sequence[str] = view.item_ids(rows).tolist()
    order = sorted(range(len(rows)), key=lambda at: (-values[rows[at]], ids[at]))
    return rows[np.array(order[:n], np.int64)]
