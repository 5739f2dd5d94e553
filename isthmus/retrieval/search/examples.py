"""Items as queries: examples to be like or unlike, and the interests in a user's history.

Examples follow Rocchio, "Relevance Feedback in Information Retrieval", in Salton (ed.), The SMART
Retrieval System, 1971, with the weights of Qdrant's ``average_vector`` strategy. Interests follow
PinnerSage (Pal et al., KDD 2020): Ward clustering, each cluster represented by its medoid, since a
mean of unlike items would lie near none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.query import NO_ROWS, Query
from isthmus.schema import ITEM_ID

MAX_HISTORY: Final = 200
MAX_INTERESTS: Final = 8
CUT_DISTANCE: Final = 1.1
MIN_NORM: Final = 1e-5

Items = str | Sequence[str]


def unique_item_ids(items: Items) -> list[str]:
    """Return item ids in their order, without duplicates."""
    return list(dict.fromkeys([items] if isinstance(items, str) else items))


def example_rows(view: View, like: Items, unlike: Items) -> tuple[Positions, Positions]:
    """Find the rows of the items to be like, (n_like,), and of those to be unlike, (n_unlike,).

    Raises
    ------
    InvalidInput
        If an item is to be both.
    ItemNotFound
        If there is no such item, or it has no vector.
    """
    if not like and not unlike:  # view.find reads all ids, even for none
        return NO_ROWS[0], NO_ROWS[0]
    liked, unliked = unique_item_ids(like), unique_item_ids(unlike)
    if both := set(liked) & set(unliked):
        raise InvalidInput(f"item {min(both)!r} is to be like and to be unlike; choose one")
    rows = view.find([*liked, *unliked])
    for name, row in zip([*liked, *unliked], rows.tolist(), strict=True):
        if row < 0:
            exists = len(view.snapshot.find([name], [ITEM_ID])) > 0
            missing = "searchable item" if exists else "item"
            raise ItemNotFound(f"no {missing} {name!r} in this space")
    return rows[: len(liked)], rows[len(liked) :]


def query_with_examples(
    view: View, contents: Mapping[str, FloatArray], like: Positions, unlike: Positions
) -> Query:
    """Combine contents with examples, named vector by named vector.

    A named vector takes part where something positive has it: the contents, or an item to be like.
    In the others the items to be unlike are ignored. Where nothing is positive anywhere, the query
    is the opposite of the items to be unlike, so that the least similar items come first.

    Parameters
    ----------
    view : View
        Contains the examples.
    contents : mapping of str to numpy.ndarray
        Unit vector, shape (dim,), of the text, image or vector in each named vector.
    like, unlike : numpy.ndarray
        int64: rows of the examples.

    Returns
    -------
    Query
        It excludes the examples.

    Raises
    ------
    InvalidInput
        If the examples cancel out.
    """
    if len(like) == 0 and len(unlike) == 0:
        return Query(contents)
    only_unlike = not contents and len(like) == 0
    vectors = {}
    for named_vector in view.named_vectors:
        positive = _vectors(view, named_vector.name, like, contents.get(named_vector.name))
        negative = _vectors(view, named_vector.name, unlike)
        if len(positive) or (only_unlike and len(negative)):
            vectors[named_vector.name] = _combined(positive, negative, named_vector.name)
    return Query(vectors, np.concatenate([like, unlike]))


def combine(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Return the unit vector of ``p + (p - n)``, with the means p of positive, n of negative.

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
    return np.asarray(total / norm if norm > MIN_NORM else 0 * total, np.float32)


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
    view: View, vector_name: str, rows: Positions, content: FloatArray | None = None
) -> FloatArray:
    part = view.vectors(vector_name, rows)
    vectors = part.vectors[part.present]
    return vectors if content is None else np.concatenate([content[None], vectors])


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
    """Cluster the items of a history into interests, by falling weight.

    Parameters
    ----------
    view : View
        Contains the items.
    rows : numpy.ndarray
        int64, shape (n,): rows of the history's items, oldest first.
    importance : numpy.ndarray
        float64, shape (n,): weight of each interaction.

    Returns
    -------
    list of Interest
        At most eight.
    """
    keep = np.flatnonzero((rows >= 0) & (importance > 0))[-MAX_HISTORY:]
    rows, importance = rows[keep], importance[keep]
    medoids, weights = choose_interests(item_vectors(view, rows), importance)
    return [_interest(view, rows[[m]], w) for m, w in zip(medoids, weights, strict=True)]


def choose_interests(
    vectors: FloatArray, importance: npt.NDArray[np.float64]
) -> tuple[Positions, npt.NDArray[np.float64]]:
    """Cluster vectors into interests, and return the medoid of each, by falling weight.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows, oldest first; the last 200 are used.
    importance : numpy.ndarray
        float64, shape (n,), above zero.

    Returns
    -------
    places, weights : numpy.ndarray
        int64 and float64, shape (n_interests,), at most eight.
    """
    first = max(0, len(vectors) - MAX_HISTORY)
    vectors, importance = vectors[first:], importance[first:]
    if not len(vectors):
        return np.empty(0, np.int64), np.empty(0, np.float64)
    groups = _groups(vectors)
    weights = np.bincount(groups, importance)
    chosen = [g for g in np.argsort(-weights, kind="stable") if weights[g] > 0][:MAX_INTERESTS]
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
    """Return the cluster of each leaf of a SciPy linkage tree, from 0.

    `tree` has shape (n_leaves - 1, 4), the result (n_leaves,). They are the clusters of SciPy's
    `fcluster`, in its order (from the left, branches before leaves); that one takes longer to
    validate a tree than to cut it.
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
            ordered = sorted(children[node - leaves], key=lambda child: child < leaves)
            left += [(child, together) for child in reversed(ordered)]
    return groups


def _medoid(
    vectors: FloatArray, importance: npt.NDArray[np.float64], group: npt.NDArray[np.bool_]
) -> int:
    """Return the position of the group's vector that is nearest to its weighted mean."""
    positions = np.flatnonzero(group)
    members = vectors[positions]
    return int(positions[np.argmax(members @ (importance[positions] @ members))])


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
    """Return the named vectors of items side by side, at unit norm.

    Parameters
    ----------
    view : View
        Contains the items.
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
    present = np.flatnonzero(rows >= 0)
    chosen = [
        named_vector
        for named_vector in view.named_vectors
        if named_vectors is None or named_vector.name in named_vectors
    ]
    if len(chosen) == 1 and (weights or {}).get(chosen[0].name, 1.0) > 0:
        return view.vectors(chosen[0].name, rows).vectors
    vectors = np.zeros((len(rows), sum(named_vector.dim for named_vector in chosen)), np.float32)
    start = 0
    for named_vector in chosen:
        weight = (weights or {}).get(named_vector.name, 1.0)
        part = view.vectors(named_vector.name, rows[present]).vectors
        vectors[present, start : start + named_vector.dim] = np.sqrt(weight) * part
        start += named_vector.dim
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    return vectors
