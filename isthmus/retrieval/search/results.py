"""Results: hits with their explanations, and tables of ranked lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.interactions.feedback import canonical
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.titles import link_of, title_of
from isthmus.schema import DOMAIN, ITEM_ID, RANK, SCORE, USER_ID

OPTIONAL: Final = ("audio", "similarity", "reason", "explanation", "rule")


@dataclass(slots=True)  # a frozen one takes four times as long to make
class Hit:
    """One item of a result.

    Attributes
    ----------
    item_id, domain : str
        The item, and the catalogue it belongs to.
    score : float
        Higher is better; what it measures is stated by the method that returned it.
    rank : int
        Place in the result, from 1.
    text, image, audio : str or None
        The item's text and the references of its files, where attributes were asked for.
    attributes : dict
        The item's attributes, where they were asked for.
    similarity : float or None
        In hybrid search, and where a model ordered the list anew, the score of the search by
        vectors alone, where the item has one.
    reason : str or None
        Where a chat model ordered the list, why it stands there.
    explanation : Explanation or None
        In recommendations, why the item is there, where that was asked for.
    rule : str or None
        ``"pinned"``, ``"boosted"`` or ``"explored"`` where a business rule put it there.
    """

    item_id: str
    domain: str
    score: float
    rank: int
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    similarity: float | None = None
    reason: str | None = None
    explanation: Explanation | None = None
    rule: str | None = None

    @property
    def title(self) -> str:
        """A title among the attributes, or else the beginning of the text, or the id."""
        return title_of(self.item_id, self.text, self.attributes)

    @property
    def link(self) -> str | None:
        """The address of the item's page, where an attribute has one."""
        return link_of(self.attributes)

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as plain values; audio, similarity and why it is there where present."""
        values = asdict(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in OPTIONAL
        }


class Hits(list[Hit]):
    """The hits of one answer, best first: a list, with what is to be said of it.

    Attributes
    ----------
    notes : tuple of str
        What the reader should know of the answer, such as a filter that matches nothing.
    cursor : str or None
        Where the next page begins (`cursor=`); None where there is none.
    release : int
        The release that answered; 0 before the first.
    recommendation_id : str or None
        The id under which the list was logged, if it was.
    arm : str or None
        The arm of the experiment that the list belongs to, if it does.
    """

    def __init__(
        self,
        hits: Iterable[Hit] = (),
        notes: Iterable[str] = (),
        cursor: str | Callable[[], str] | None = None,
        release: int = 0,
    ) -> None:
        super().__init__(hits)
        self.notes, self._cursor, self.release = tuple(notes), cursor, release
        self.recommendation_id: str | None = None
        self.arm: str | None = None

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; written when it is first read, since few answers need it."""
        if callable(self._cursor):
            self._cursor = self._cursor()
        return self._cursor

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        hits = [hit.as_dict() for hit in self]
        answer = {"hits": hits, "notes": list(self.notes), "cursor": self.cursor}
        named = {"recommendation_id": self.recommendation_id, "arm": self.arm}
        more = {name: value for name, value in named.items() if value is not None}
        return {**answer, "release": self.release, **more}


@dataclass(frozen=True)
class Group:
    """The best items that have one value of an attribute.

    Attributes
    ----------
    value : object
        The value.
    hits : tuple of Hit
        Best first; ranks are those in the list of all items.
    """

    value: Any
    hits: tuple[Hit, ...]


class Groups(list[Group]):
    """The groups of one answer, that with the best item first.

    Attributes
    ----------
    notes : tuple of str
        As of `Hits`.
    release : int
        The release that answered; 0 before the first.
    """

    def __init__(
        self, groups: Iterable[Group] = (), notes: Iterable[str] = (), release: int = 0
    ) -> None:
        super().__init__(groups)
        self.notes, self.release = tuple(notes), release

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        groups = [{"value": g.value, "hits": [hit.as_dict() for hit in g.hits]} for g in self]
        return {"groups": groups, "notes": list(self.notes), "release": self.release}


class ItemPage(list[dict[str, Any]]):
    """Items of one page, as `Space.get` returns them.

    Attributes
    ----------
    cursor : str or None
        Where the next page begins; None after the last.
    """

    def __init__(self, items: Iterable[dict[str, Any]] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor

    def as_dict(self) -> dict[str, Any]:
        """Return the page as plain values."""
        return {"items": list(self), "cursor": self.cursor}


class BatchResults(NamedTuple):
    """Results of many queries, best first.

    Attributes
    ----------
    item_ids : numpy.ndarray
        str objects, shape (n, k); None where there are no more items.
    scores : numpy.ndarray
        float32, shape (n, k): cosine similarity; -inf where there are no more items.
    """

    item_ids: npt.NDArray[np.object_]
    scores: FloatArray


def make_hits(
    view: View,
    rows: Positions,
    scores: Sequence[float] | FloatArray,
    similarities: Sequence[float | None] | None = None,
    *,
    attributes: bool = False,
    offset: int = 0,
) -> list[Hit]:
    """Return hits of rows and scores, both of shape (n,), best first; rows of -1 are left out."""
    rows = np.asarray(rows, np.int64)
    rows = rows[rows >= 0]
    similar = [None] * len(rows) if similarities is None else similarities
    ids, domains = view.item_ids(rows).tolist(), view.item_domains(rows).tolist()
    items = zip(ids, domains, np.asarray(scores).tolist(), similar, strict=False)
    hits = [
        Hit(item_id, domain, score, rank, similarity=similarity)
        for rank, (item_id, domain, score, similarity) in enumerate(items, offset + 1)
    ]
    return _with_attributes(view, rows, hits) if attributes else hits


def _with_attributes(view: View, rows: Positions, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits with the contents and attributes of their items."""
    attributes = view.snapshot.attributes
    contents = [name for name in view.snapshot.item_columns if name not in (ITEM_ID, DOMAIN)]
    columns = [*contents, *attributes.schema.names]
    details = view.snapshot.fetch(view.row_ids(rows), columns).to_pylist()
    return [
        replace(
            hit,
            **{name: row.pop(name, None) for name in contents},
            attributes=attributes.of_row(row, hit.domain),
        )
        for hit, row in zip(hits, details, strict=True)
    ]


def make_batch_results(view: View, rows: Positions, scores: FloatArray, k: int) -> BatchResults:
    """Return the results of rows and scores, shape (n, at most k); rows of -1 are none."""
    ids = np.full((len(rows), k), None, object)
    there = np.nonzero(rows >= 0)
    ids[there] = view.item_ids(rows[there])
    missing = k - rows.shape[1]
    if missing:
        scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
    return BatchResults(ids, scores)


def list_schema(id_column: str = USER_ID) -> pa.Schema:
    """Return the schema of a table of ranked lists."""
    return pa.schema(
        [
            (id_column, pa.string()),
            (ITEM_ID, pa.string()),
            (RANK, pa.int32()),
            (SCORE, pa.float32()),
        ]
    )


def make_lists(
    view: View,
    ids: Sequence[str],
    lists: Sequence[tuple[Positions, FloatArray]],
    id_column: str = USER_ID,
) -> pa.Table:
    """Return ranked lists as one table: query or user id, item_id, rank and score."""
    lengths = [len(rows) for rows, _ in lists]
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in lists)])
    ranks = [rank for length in lengths for rank in range(1, length + 1)]
    owners = [name for name, n in zip(ids, lengths, strict=True) for _ in range(n)]
    columns = [owners, view.item_ids(rows), ranks, scores]
    schema = list_schema(id_column)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


# How a person says that an event happened; other kinds are called by their name.
VERBS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("purchase", "buy", "order", "transaction", "checkout"), "bought")
    | dict.fromkeys(("view", "pageview", "productview", "viewitem", "detail", "visit"), "viewed")
    | dict.fromkeys(("rating", "rate", "review"), "rated")
    | dict.fromkeys(("like", "love", "upvote"), "liked")
    | dict.fromkeys(("addtocart", "cart", "basket"), "put into the cart")
    | dict.fromkeys(("wishlist", "addtowishlist", "save", "bookmark"), "saved")
    | {"click": "clicked", "play": "played", "watch": "watched", "listen": "listened to"}
    | {"open": "opened", "read": "read", "stream": "streamed", "borrow": "borrowed"}
    | {"download": "downloaded", "install": "installed", "share": "shared", "interaction": ""}
)


def _day(moment: datetime, today: date) -> str:
    year = "" if moment.year == today.year else f" {moment.year}"
    return f"{moment.day} {moment:%b}{year}"


@dataclass(frozen=True)
class HistoryReason:
    """The contribution of an item of the history to a recommendation.

    Attributes
    ----------
    item_id : str
        The item of the history; for a text of the user, the item that stands for it.
    gain : float
        How much the ranker's score falls without the item in the history.
    similarity : dict of str to float
        Cosine of the two items in each named vector of content that both have.
    title : str or None
        The title of the item; None where the space does not hold it any more.
    event : str or None
        The kind of the strongest event with it, such as purchase; None where it is not known.
    happened : datetime or None
        When that was.
    """

    item_id: str
    gain: float
    similarity: dict[str, float]
    title: str | None = None
    event: str | None = None
    happened: datetime | None = None

    def describe(self, today: date | None = None) -> str:
        """Return the evidence in words.

        Parameters
        ----------
        today : date, optional
            Dates of another year have the year; by default the present day.

        Examples
        --------
        >>> bought = HistoryReason("f1", 0.3, {}, "Dune", "purchase", datetime(2024, 5, 3))
        >>> bought.describe(date(2024, 6, 1)), HistoryReason("f1", 0.3, {}).describe()
        ('"Dune" (bought 3 May)', 'f1')
        """
        name = self.item_id if self.title is None else f'"{self.title}"'
        verb = None if self.event is None else VERBS.get(canonical(self.event), self.event)
        when = None if self.happened is None else _day(self.happened, today or date.today())
        said = " ".join(word for word in (verb, when) if word)
        return f"{name} ({said})" if said else name


@dataclass(frozen=True)
class GeneratorReason:
    """The contribution of a candidate generator to a recommendation.

    Attributes
    ----------
    name : str
        The candidate generator.
    rank : int or None
        Place in its list; None where it did not propose the item.
    gain : float
        How much the ranker's score falls without the generator's scores.
    """

    name: str
    rank: int | None
    gain: float


@dataclass(frozen=True)
class ContentReason:
    """The contribution of the contents of a named vector (text, image) to a recommendation.

    Attributes
    ----------
    name : str
        The named vector.
    gain : float
        How much the ranker's score falls without that named vector, of the history and of the
        candidates. Candidate generators that use them are not affected.
    """

    name: str
    gain: float


@dataclass(frozen=True)
class Explanation:
    """Why an item is in a list: every number is a difference of the actual score.

    Attributes
    ----------
    score : float
        The ranker's score, a log-probability up to a constant.
    popularity : float
        The part of the score that is due to popularity, the same for all users.
    personal : float
        The rest, which is due to the user's history.
    history : tuple of HistoryReason
        The largest gain first.
    generators : tuple of GeneratorReason
        The largest gain first.
    contents : tuple of ContentReason
        The largest gain first.
    """

    score: float
    popularity: float
    personal: float
    history: tuple[HistoryReason, ...]
    generators: tuple[GeneratorReason, ...]
    contents: tuple[ContentReason, ...]

    def describe(self, most: int = 3, today: date | None = None) -> str:
        """Return the strongest evidence of the history in words, and what it counts for.

        Examples
        --------
        >>> dune = HistoryReason("f1", 0.3, {}, "Dune", "purchase", datetime(2024, 5, 3))
        >>> Explanation(-1, -2, 1, (dune,), (), ()).describe(today=date(2024, 6, 1))
        'because of "Dune" (bought 3 May)'
        """
        reasons = [reason.describe(today) for reason in self.history if reason.gain > 0][:most]
        return f"because of {' and '.join(reasons)}" if reasons else "because it is popular"
