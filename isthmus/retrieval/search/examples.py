"""Examples: a query made of items to be like, and of items to be unlike.

Relevance feedback of Rocchio, "Relevance Feedback in Information Retrieval", in Salton (ed.), The
SMART Retrieval System, 1971, with the weights of Qdrant's ``average_vector`` strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import Query
from isthmus.schema import ITEM_ID

LEAST_NORM = 1e-5

Items = str | Sequence[str]


def item_ids_in(given: Items) -> list[str]:
    """Take item ids however they are given, each once."""
    return list(dict.fromkeys([given] if isinstance(given, str) else given))


def example_rows(view: View, like: Items, unlike: Items) -> tuple[Positions, Positions]:
    """Find the rows of the items to be like, and of those to be unlike.

    Raises
    ------
    InvalidInput
        If an item is to be both.
    ItemNotFound
        If there is no such item, or it has no vector.
    """
    liked, unliked = item_ids_in(like), item_ids_in(unlike)
    if not liked and not unliked:  # finding nothing would still look through all ids
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if both := set(liked) & set(unliked):
        raise InvalidInput(f"item {min(both)!r} is to be like and to be unlike; choose one")
    rows = view.find([*liked, *unliked])
    for name, row in zip([*liked, *unliked], rows.tolist(), strict=True):
        if row < 0:
            known = len(view.snapshot.find([name], [ITEM_ID])) > 0
            wanted = "searchable item" if known else "item"
            raise ItemNotFound(f"no {wanted} {name!r} in this space")
    return rows[: len(liked)], rows[len(liked) :]


def query_with_examples(
    view: View, asked: Mapping[str, FloatArray], like: Positions, unlike: Positions
) -> Query:
    """Join what is asked for with examples, block by block.

    A block takes part where something positive has it: what was asked, or an item to be like.
    In the others, what the items to be unlike hold says nothing. Where nothing is positive
    anywhere, the query is the opposite of the items to be unlike, so that the least similar
    items come first.

    Parameters
    ----------
    view : View
        Where the examples are.
    asked : mapping of str to numpy.ndarray
        Unit vectors of the text, image or vector asked for by block, shape (dim,).
    like, unlike : numpy.ndarray
        int64: rows of the examples.

    Returns
    -------
    Query
        Leaves the examples out of its results.

    Raises
    ------
    InvalidInput
        If the examples cancel out.
    """
    if len(like) == 0 and len(unlike) == 0:
        return Query(asked)
    only_unlike = not asked and len(like) == 0
    vectors = {}
    for block in view.blocks:
        positive = _vectors(view, block.name, like, asked.get(block.name))
        negative = _vectors(view, block.name, unlike)
        if len(positive) or (only_unlike and len(negative)):
            vectors[block.name] = _combined(positive, negative, block.name)
    return Query(vectors, np.concatenate([like, unlike]))


def combine(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Give the unit vector of ``p + (p - n)``, with the means p of positive, n of negative.

    Without negatives it is that of ``p``, without positives that of ``-n``.

    Parameters
    ----------
    positive, negative : numpy.ndarray
        float32, shape (n, dim): unit vectors.

    Returns
    -------
    numpy.ndarray
        float32, shape (dim,); zeros where they cancel out.

    Examples
    --------
    >>> vector = combine(np.array([[0.6, 0.8]]), np.array([[0.0, 1.0]]))
    >>> [round(x, 3) for x in vector.tolist()]
    [0.894, 0.447]
    """
    total = np.zeros(positive.shape[1])
    if len(positive):
        total += (2 if len(negative) else 1) * positive.mean(axis=0, dtype=np.float64)
    if len(negative):
        total -= negative.mean(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm if norm > LEAST_NORM else 0 * total, np.float32)


def _combined(positive: FloatArray, negative: FloatArray, block: str) -> FloatArray:
    vector = combine(positive, negative)
    if not vector.any():
        raise InvalidInput(
            f"the examples cancel out in block {block}, which leaves nothing to search for; "
            "give more or other examples"
        )
    return vector


def _vectors(
    view: View, block: str, rows: Positions, asked: FloatArray | None = None
) -> FloatArray:
    part = view.vectors(block, rows)
    own = part.vectors[part.present]
    return own if asked is None else np.concatenate([asked[None], own])
