"""Vectors laid out on a plane, so that those that are alike lie together.

The layout is that of UMAP (McInnes, Healy and Melville, "UMAP: Uniform manifold approximation and
projection for dimension reduction", 2018), over neighbours that are exact.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.errors import MissingDependency
from isthmus.index.ann.exact import exact_search
from isthmus.numerics.arrays import FloatArray, Positions

NEIGHBOURS = 15
LEAST_DISTANCE = 0.1
FEWEST = 5  # points that UMAP can be asked to lay out; fewer lie on their principal axes
SPREAD = 10.0


class Neighbours(NamedTuple):
    """The neighbours of each point, itself first.

    Attributes
    ----------
    places : numpy.ndarray
        int64, shape (n, width).
    distances : numpy.ndarray
        float32, shape (n, width); ascending.
    """

    places: Positions
    distances: FloatArray


def lay_out(vectors: FloatArray, kinds: Sequence[str], seed: int) -> FloatArray:
    """Lay vectors out on a plane, shape (n, 2); the same vectors and seed, the same layout.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows.
    kinds : sequence of str
        The modality of each; see `find_neighbours`.
    seed : int
        Of whatever is left to chance.

    Raises
    ------
    MissingDependency
        If umap-learn is not installed.
    """
    umap = _require_umap()
    start = _principal_axes(_centred(vectors, np.array(kinds)))
    if len(vectors) < FEWEST or np.ptp(start) == 0:
        return start
    found = find_neighbours(vectors, kinds)
    layout = umap.UMAP(
        n_neighbors=min(found.places.shape[1], len(vectors) - 1),
        min_dist=LEAST_DISTANCE,
        init=start,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(found.places, found.distances),
        force_approximation_algorithm=True,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn")  # no other point comes later
        return np.asarray(layout.fit_transform(vectors), np.float32)


def find_neighbours(
    vectors: FloatArray, kinds: Sequence[str], count: int = NEIGHBOURS
) -> Neighbours:
    """Find the neighbours of each point, as many of each kind.

    Contents of one modality are nearer to each other than to those of another, however well the
    two are aligned (Liang et al., "Mind the gap", NeurIPS 2022): by cosine alone a map shows the
    modalities as islands. So neighbours are taken from every kind alike, and the distances from
    points of one kind to those of another are relative to their mean.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows.
    kinds : sequence of str
        The kind of each.
    count : int, default 15
        About how many neighbours.
    """
    of_kind = {kind: np.flatnonzero(np.array(kinds) == kind) for kind in dict.fromkeys(kinds)}
    each = math.ceil(count / len(of_kind))
    parts = [
        (rows, [_nearest(vectors, rows, others, each) for others in of_kind.values()])
        for rows in of_kind.values()
    ]
    width = min(sum(near.places.shape[1] for near in found) for _, found in parts)
    places = np.empty((len(vectors), width + 1), np.int64)
    distances = np.zeros((len(vectors), width + 1), np.float32)
    places[:, 0] = np.arange(len(vectors))
    for rows, found in parts:
        near = np.concatenate([one.places for one in found], axis=1)
        far = np.concatenate([one.distances for one in found], axis=1)
        order = np.argsort(far, axis=1, kind="stable")[:, :width]
        places[rows, 1:] = np.take_along_axis(near, order, axis=1)
        distances[rows, 1:] = np.take_along_axis(far, order, axis=1)
    return Neighbours(places, distances)


def _nearest(vectors: FloatArray, rows: Positions, others: Positions, count: int) -> Neighbours:
    """Give the nearest of some points to others, never a point itself, in mean distances."""
    itself = bool(np.array_equal(rows, others))
    asked = min(count + itself, len(others))
    cosines, found = exact_search(vectors[rows], vectors[others], asked)
    places = others[found]
    if itself:
        places, cosines = _without_itself(rows, places, cosines)
    distances = np.maximum(1 - cosines, 0)
    typical = float(distances.mean()) if distances.size else 0.0
    return Neighbours(places, np.asarray(distances / max(typical, 1e-12), np.float32))


def _without_itself(
    rows: Positions, places: Positions, cosines: FloatArray
) -> tuple[Positions, FloatArray]:
    """Leave each point out of its own neighbours; the last one where copies crowd it out."""
    own = places == rows[:, None]
    own[~own.any(axis=1), -1] = True
    kept = (len(rows), places.shape[1] - 1)
    return places[~own].reshape(kept), cosines[~own].reshape(kept)


def _centred(vectors: FloatArray, kinds: npt.NDArray[np.str_]) -> FloatArray:
    centred = vectors.copy()
    for kind in np.unique(kinds):
        centred[kinds == kind] -= vectors[kinds == kind].mean(axis=0)
    return centred


def _principal_axes(vectors: FloatArray) -> FloatArray:
    """Give the place of vectors on their two principal axes, signs fixed, from -10 to 10."""
    scale, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    two: npt.NDArray[np.float64] = axes[:, np.argsort(-scale)[:2]]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])])
    placed = np.zeros((len(vectors), 2), np.float32)
    placed[:, : two.shape[1]] = vectors @ two
    return placed * np.float32(SPREAD / max(float(np.abs(placed).max(initial=0)), 1e-6))


def _require_umap() -> Any:
    try:
        import umap
    except ImportError as error:
        raise MissingDependency(
            "umap-learn, which lays maps out, is not installed; install it with: "
            "pip install 'isthmus[map]'"
        ) from error
    return umap
