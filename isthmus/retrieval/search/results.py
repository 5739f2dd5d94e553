"""What a query returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import DOMAIN, ITEM_ID, RANK, SCORE, USER_ID


@dataclass(frozen=True)
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
        In hybrid search, the score of the search by vectors alone, where the item has one.
    explanation : Explanation or None
        In recommendations, why the item is there, where that was asked for.
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
    explanation: Explanation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the hit as plain values; audio, similarity, explanation only where there are any."""
        values = asdict(self)
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in ("audio", "similarity", "explanation")
        }


class BatchResults(NamedTuple):
    """What many queries found, best first.

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
) -> list[Hit]:
    """Turn rows and scores, best first, into hits; -1 ends the list."""
    rows = np.asarray(rows, np.int64)
    rows = rows[rows >= 0]
    similar = [None] * len(rows) if similarities is None else similarities
    found = zip(view.item_ids(rows), view.item_domains(rows), scores, similar, strict=False)
    hits = [
        Hit(item_id, domain, float(score), rank, similarity=similarity)
        for rank, (item_id, domain, score, similarity) in enumerate(found, 1)
    ]
    return _with_attributes(view, rows, hits) if attributes else hits


def _with_attributes(view: View, rows: Positions, hits: Sequence[Hit]) -> list[Hit]:
    """Give the hits with the contents and attributes of their items."""
    contents = [name for name in view.snapshot.item_columns if name not in (ITEM_ID, DOMAIN)]
    columns = [*contents, *view.snapshot.attributes.names]
    details = view.snapshot.fetch(view.row_ids(rows), columns).to_pylist()
    return [
        replace(hit, **{name: own.pop(name, None) for name in contents}, attributes=own)
        for hit, own in zip(hits, details, strict=True)
    ]


def make_batch_results(view: View, rows: Positions, scores: FloatArray) -> BatchResults:
    """Turn rows and scores, each of shape (n, k), into item ids; -1 becomes None."""
    ids = np.full(rows.shape, None, object)
    there = rows >= 0
    ids[there] = view.item_ids(rows[there])
    return BatchResults(ids, scores)


def list_schema(id_column: str = USER_ID) -> pa.Schema:
    """Give the columns of a table of ranked lists."""
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
    """Turn ranked lists into one table: whose list it is, item_id, rank and score."""
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


@dataclass(frozen=True)
class HistoryReason:
    """What an item of the history did for a recommended item.

    Attributes
    ----------
    item_id : str
        The item of the history; for what a user said, the item that stands for it.
    gain : float
        How much the head's score falls when the item is taken out of the history.
    similarity : dict of str to float
        Cosine of the two items in each named vector of content that both have.
    """

    item_id: str
    gain: float
    similarity: dict[str, float]


@dataclass(frozen=True)
class SourceReason:
    """What a source of candidates did for a recommended item.

    Attributes
    ----------
    name : str
        The source.
    rank : int or None
        Place in its list; None where it did not propose the item.
    gain : float
        How much the head's score falls when the source says nothing.
    """

    name: str
    rank: int | None
    gain: float


@dataclass(frozen=True)
class ContentReason:
    """What the contents of a named vector (text, image) did for a recommended item.

    Attributes
    ----------
    name : str
        The named vector.
    gain : float
        How much the head's score falls when the head does not see that named vector, of the
        history and of the candidates. What sources found by them is told by the sources.
    """

    name: str
    gain: float


@dataclass(frozen=True)
class Explanation:
    """Why an item is in a list: every figure is a difference of the real score.

    Attributes
    ----------
    score : float
        The head's score, the logarithm of a share up to a constant.
    popularity : float
        The part of the score that is popularity alone, the same for everybody.
    personal : float
        The rest, which comes from what is known of the user.
    history : tuple of HistoryReason
        The largest gain first.
    sources : tuple of SourceReason
        The largest gain first.
    contents : tuple of ContentReason
        The largest gain first.
    """

    score: float
    popularity: float
    personal: float
    history: tuple[HistoryReason, ...]
    sources: tuple[SourceReason, ...]
    contents: tuple[ContentReason, ...]
