"""Examples: a query made of items to be like, and of items to be unlike.

Relevance feedback of Rocchio, "Relevance Feedback in Information Retrieval", in Salton (ed.), The
SMART Retrieval System, 1971, with the weights of Qdrant's ``average_vector`` strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import Query
from isthmus.schema import ITEM_ID

MOST_RECENT = 200
MOST_INTERESTS = 8
CUT_DISTANCE = 1.1

LEAST_NORM = 1e-5

Items = str | Sequence[str]


def unique_item_ids(given: Items) -> list[str]:
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
    liked, unliked = unique_item_ids(like), unique_item_ids(unlike)
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
    """Join what is asked for with examples, named vector by named vector.

    A named vector takes part where something positive has it: what was asked, or an item to be
    like. In the others, what the items to be unlike hold says nothing. Where nothing is positive
    anywhere, the query is the opposite of the items to be unlike, so that the least similar items
    come first.

    Parameters
    ----------
    view : View
        Where the examples are.
    asked : mapping of str to numpy.ndarray
        Unit vectors of the text, image or vector asked for by named vector, shape (dim,).
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
    for named_vector in view.named_vectors:
        positive = _vectors(view, named_vector.name, like, asked.get(named_vector.name))
        negative = _vectors(view, named_vector.name, unlike)
        if len(positive) or (only_unlike and len(negative)):
            vectors[named_vector.name] = _combined(positive, negative, named_vector.name)
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


def _combined(positive: FloatArray, negative: FloatArray, vector_name: str) -> FloatArray:
    vector = combine(positive, negative)
    if not vector.any():
        raise InvalidInput(
            f"the examples cancel out in named vector {vector_name}, which leaves "
            "nothing to search for; "
            "give more or other examples"
        )
    return vector


def _vectors(
    view: View, vector_name: str, rows: Positions, asked: FloatArray | None = None
) -> FloatArray:
    part = view.vectors(vector_name, rows)
    own = part.vectors[part.present]
    return own if asked is None else np.concatenate([asked[None], own])


@dataclass(frozen=True, eq=False)
class Interest:
    """One interest of a user.

    Attributes
    ----------
    vectors : dict of str to numpy.ndarray
        The medoid's unit vector in each named vector it has, shape (dim,).
    weight : float
        Summed importance of the interactions in the group.
    """

    vectors: dict[str, FloatArray]
    weight: float


def find_interests(
    view: View, rows: Positions, importance: npt.NDArray[np.float64]
) -> list[Interest]:
    """Group the items of a history into interests, the weightiest first.

    Parameters
    ----------
    view : View
        Where the items are.
    rows : numpy.ndarray
        int64, shape (n,): rows of the history's items, oldest first.
    importance : numpy.ndarray
        float64, shape (n,): weight of each interaction.

    Returns
    -------
    list of Interest
        At most eight.
    """
    keep = np.flatnonzero((rows >= 0) & (importance > 0))[-MOST_RECENT:]
    rows, importance = rows[keep], importance[keep]
    medoids, weights = choose_interests(item_vectors(view, rows), importance)
    return [_interest(view, rows[[m]], w) for m, w in zip(medoids, weights, strict=True)]


def choose_interests(
    vectors: FloatArray, importance: npt.NDArray[np.float64]
) -> tuple[Positions, npt.NDArray[np.float64]]:
    """Group vectors into interests, and choose the medoid of each, the weightiest first.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit length, oldest first; the last 200 are looked at.
    importance : numpy.ndarray
        float64, shape (n,), above zero.

    Returns
    -------
    places, weights : numpy.ndarray
        int64 and float64, shape (n_interests,), at most eight.
    """
    first = max(0, len(vectors) - MOST_RECENT)
    vectors, importance = vectors[first:], importance[first:]
    if not len(vectors):
        return np.empty(0, np.int64), np.empty(0, np.float64)
    groups = _groups(vectors)
    weights = np.bincount(groups, importance)
    chosen = [g for g in np.argsort(-weights, kind="stable") if weights[g] > 0][:MOST_INTERESTS]
    return (
        np.array([first + _medoid(vectors, importance, groups == g) for g in chosen], np.int64),
        weights[chosen].astype(np.float64),
    )


def _groups(vectors: FloatArray) -> npt.NDArray[np.int32]:
    from scipy.cluster.hierarchy import linkage

    if len(vectors) == 1:
        return np.zeros(1, np.int32)
    return cut_dendrogram(linkage(vectors.astype(np.float64), method="ward"), CUT_DISTANCE)


def cut_dendrogram(tree: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.int32]:
    """Give the group of each leaf of a tree that SciPy made, from 0.

    They are the groups of SciPy's `fcluster`, which takes longer to check a tree than to cut it, in
    its order: from the left, branches before leaves.
    """
    leaves = len(tree) + 1
    children, far = tree[:, :2].astype(np.int64).tolist(), (tree[:, 2] > distance).tolist()
    groups, last, left = np.empty(leaves, np.int32), -1, [(2 * leaves - 2, False)]
    while left:
        node, inside = left.pop()
        together = inside or node < leaves or not far[node - leaves]
        last += together and not inside
        if node < leaves:
            groups[node] = last
        else:
            own = sorted(children[node - leaves], key=lambda child: child < leaves)
            left += [(child, together) for child in reversed(own)]
    return groups


def _medoid(
    vectors: FloatArray, importance: npt.NDArray[np.float64], group: npt.NDArray[np.bool_]
) -> int:
    """Give the place of the group's vector that is nearest to its weighted mean."""
    places = np.flatnonzero(group)
    own = vectors[places]
    return int(places[np.argmax(own @ (importance[places] @ own))])


def _interest(view: View, medoid: Positions, weight: float) -> Interest:
    parts = {
        named_vector.name: view.vectors(named_vector.name, medoid)
        for named_vector in view.named_vectors
    }
    vectors = {name: part.vectors[0] for name, part in parts.items() if part.present[0]}
    return Interest(vectors, float(weight))


def item_vectors(
    view: View,
    rows: Positions,
    weights: Mapping[str, float] | None = None,
    named_vectors: Sequence[str] | None = None,
) -> FloatArray:
    """Put the named vectors of items side by side, at unit norm.

    Parameters
    ----------
    view : View
        Where the items are.
    rows : numpy.ndarray
        int64, shape (n,): rows of the items; -1 gives zeros.
    weights : mapping of str to float, optional
        Weight of each named vector, 1 where not given: before they are brought to unit norm, the
        inner product of two items is the weighted sum of their cosines in the named vectors.
    named_vectors : sequence of str, optional
        Which named vectors; all by default.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, sum of the named vectors' dims).
    """
    there = np.flatnonzero(rows >= 0)
    chosen = [
        named_vector
        for named_vector in view.named_vectors
        if named_vectors is None or named_vector.name in named_vectors
    ]
    if len(chosen) == 1 and (weights or {}).get(chosen[0].name, 1.0) > 0:
        return view.vectors(chosen[0].name, rows).vectors
    whole = np.zeros((len(rows), sum(named_vector.dim for named_vector in chosen)), np.float32)
    start = 0
    for named_vector in chosen:
        weight = (weights or {}).get(named_vector.name, 1.0)
        part = view.vectors(named_vector.name, rows[there]).vectors
        whole[there, start : start + named_vector.dim] = np.sqrt(weight) * part
        start += named_vector.dim
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    whole /= np.where(norms > 0, norms, 1)
    return whole
