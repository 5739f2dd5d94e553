"""Interests: the groups in a user's history, each stood for by one of its own items.

Ward clustering with medoids follows PinnerSage (Pal et al., KDD 2020): a mean of unlike items
would lie near none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.item_vectors import item_vectors

MOST_RECENT = 200
MOST_INTERESTS = 8
CUT_DISTANCE = 1.1


@dataclass(frozen=True, eq=False)
class Interest:
    """One interest of a user.

    Attributes
    ----------
    vectors : dict of str to numpy.ndarray
        The medoid's unit vector in each block it has, shape (dim,).
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
    return cut(linkage(vectors.astype(np.float64), method="ward"), CUT_DISTANCE)


def cut(tree: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.int32]:
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
    parts = {block.name: view.vectors(block.name, medoid) for block in view.blocks}
    vectors = {name: part.vectors[0] for name, part in parts.items() if part.present[0]}
    return Interest(vectors, float(weight))
