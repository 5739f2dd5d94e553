"""Vectors laid out on a plane, so that similar vectors lie together.

The layout is that of UMAP (McInnes, Healy and Melville, "UMAP: Uniform manifold approximation and
projection for dimension reduction", 2018), over neighbours that are exact.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.errors import MissingDependency
from isthmus.index.ann.exact import exact_search
from isthmus.numerics.arrays import FloatArray, Positions

NEIGHBOURS: Final = 15
MIN_DISTANCE: Final = 0.1
MIN_POINTS: Final = 5  # of UMAP; fewer points are placed by their principal components
SPREAD: Final = 10.0


class Neighbours(NamedTuple):
    """The neighbours of each point, itself first.

    Attributes
    ----------
    indices : numpy.ndarray
        int64, shape (n, width).
    distances : numpy.ndarray
        float32, shape (n, width); ascending.
    """

    indices: Positions
    distances: FloatArray


def lay_out(vectors: FloatArray, modalities: Sequence[str], seed: int) -> FloatArray:
    """Lay vectors out on a plane, shape (n, 2), reproducibly.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows.
    modalities : sequence of str
        The modality of each; see `find_neighbours`.
    seed : int
        Random seed.

    Raises
    ------
    MissingDependency
        If umap-learn is not installed.
    """
    _require_umap()
    start = _principal_components(_center(vectors, np.array(modalities)))
    if len(vectors) < MIN_POINTS or np.ptp(start) == 0:
        return start
    import umap

    neighbours = find_neighbours(vectors, modalities)
    layout = umap.UMAP(
        n_neighbors=min(neighbours.indices.shape[1], len(vectors) - 1),
        min_dist=MIN_DISTANCE,
        init=start,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(neighbours.indices, neighbours.distances),
        force_approximation_algorithm=True,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="precomputed_knn"
        )  # it warns that no point can be added later
        return np.asarray(layout.fit_transform(vectors), np.float32)


def components(vectors: FloatArray, modalities: Sequence[str], seed: int) -> FloatArray:  # noqa: ARG001
    """Lay vectors out by their two principal components, each modality around its mean.

    Parameters as of `lay_out`; nothing is left to chance.
    """
    return _principal_components(_center(vectors, np.array(modalities)))


LAYOUTS: Final = {"umap": lay_out, "components": components}


def find_neighbours(
    vectors: FloatArray, modalities: Sequence[str], count: int = NEIGHBOURS
) -> Neighbours:
    """Find the neighbours of each point, as many of each modality.

    Contents of one modality are nearer to each other than to those of another, however well the
    two are aligned (Liang et al., "Mind the gap", NeurIPS 2022): by cosine alone a map shows the
    modalities as islands. So neighbours are taken from every modality equally, and the distances
    from points of one modality to those of another are relative to their mean.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), unit rows.
    modalities : sequence of str
        The modality of each.
    count : int, default 15
        About how many neighbours.
    """
    by_modality = {m: np.flatnonzero(np.array(modalities) == m) for m in dict.fromkeys(modalities)}
    each = math.ceil(count / len(by_modality))
    parts = [
        (rows, [_nearest(vectors, rows, others, each) for others in by_modality.values()])
        for rows in by_modality.values()
    ]
    width = min(sum(part.indices.shape[1] for part in of_rows) for _, of_rows in parts)
    indices = np.empty((len(vectors), width + 1), np.int64)
    distances = np.zeros((len(vectors), width + 1), np.float32)
    indices[:, 0] = np.arange(len(vectors))
    for rows, of_rows in parts:
        candidates = np.concatenate([part.indices for part in of_rows], axis=1)
        candidate_distances = np.concatenate([part.distances for part in of_rows], axis=1)
        order = np.argsort(candidate_distances, axis=1, kind="stable")[:, :width]
        indices[rows, 1:] = np.take_along_axis(candidates, order, axis=1)
        distances[rows, 1:] = np.take_along_axis(candidate_distances, order, axis=1)
    return Neighbours(indices, distances)


def _nearest(vectors: FloatArray, rows: Positions, others: Positions, count: int) -> Neighbours:
    """Return the nearest other points of some points; distances are relative to their mean."""
    same_points = bool(np.array_equal(rows, others))
    k = min(count + same_points, len(others))
    cosines, nearest = exact_search(vectors[rows], vectors[others], k)
    indices = others[nearest]
    if same_points:
        indices, cosines = _without_itself(rows, indices, cosines)
    distances = np.maximum(1 - cosines, 0)
    mean = float(distances.mean()) if distances.size else 0.0
    return Neighbours(indices, np.asarray(distances / max(mean, 1e-12), np.float32))


def _without_itself(
    rows: Positions, indices: Positions, cosines: FloatArray
) -> tuple[Positions, FloatArray]:
    """Remove each point from its neighbours; the last one where copies crowd it out."""
    is_itself = indices == rows[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True
    shape = (len(rows), indices.shape[1] - 1)
    return indices[~is_itself].reshape(shape), cosines[~is_itself].reshape(shape)


def _center(vectors: FloatArray, modalities: npt.NDArray[np.str_]) -> FloatArray:
    centered = vectors.copy()
    for modality in np.unique(modalities):
        centered[modalities == modality] -= vectors[modalities == modality].mean(axis=0)
    return centered


def _principal_components(vectors: FloatArray) -> FloatArray:
    """Return the first two principal components, signs fixed, from -10 to 10, shape (n, 2)."""
    scale, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    two: npt.NDArray[np.float64] = axes[:, np.argsort(-scale)[:2]]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])])
    points = np.zeros((len(vectors), 2), np.float32)
    points[:, : two.shape[1]] = vectors @ two
    return points * np.float32(SPREAD / max(float(np.abs(points).max(initial=0)), 1e-6))


def _require_umap() -> None:
    """Raise unless UMAP is installed; it is imported where needed, which takes seconds."""
    if find_spec("umap") is None:
        raise MissingDependency(
            "umap-learn, which lays maps out, is not installed; install it with: "
            "pip install 'isthmus[map]'"
        )
