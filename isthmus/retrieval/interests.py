"""Interests: the groups in a user's history, each stood for by one of its own items.

Ward clustering with medoids follows PinnerSage (Pal et al., KDD 2020): a mean of unlike items
would lie near none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import FloatArray
from isthmus.index.exact import Positions
from isthmus.index.view import View
from isthmus.retrieval.item_vectors import item_vectors

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
    if len(rows) == 0:
        return []
    vectors = item_vectors(view, rows)
    groups = _groups(vectors)
    interests = [
        _interest(view, rows[groups == g], vectors[groups == g], importance[groups == g])
        for g in np.unique(groups)
    ]
    return sorted(interests, key=lambda interest: -interest.weight)[:MOST_INTERESTS]


def _groups(vectors: FloatArray) -> npt.NDArray[np.int32]:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(vectors) == 1:
        return np.zeros(1, np.int32)
    tree = linkage(vectors.astype(np.float64), method="ward")
    return np.asarray(fcluster(tree, CUT_DISTANCE, criterion="distance"), np.int32)


def _interest(
    view: View, rows: Positions, vectors: FloatArray, importance: npt.NDArray[np.float64]
) -> Interest:
    closeness = vectors @ (importance @ vectors)
    medoid = rows[[int(np.argmax(closeness))]]
    parts = {block.name: view.vectors(block.name, medoid) for block in view.blocks}
    return Interest(
        {name: part.vectors[0] for name, part in parts.items() if part.present[0]},
        float(importance.sum()),
    )
