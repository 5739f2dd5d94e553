"""A projection head: from the vectors of one encoder into the aligned space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray

CHUNK_ROWS = 8_192

_TENSORS = ("mean", "linear", "bias", "hidden", "offset", "out", "gate", "gate_bias", "share")


@dataclass(frozen=True, eq=False)
class ProjectionHead:
    """A linear map after centring, optionally with a hidden layer and with gated experts.

    ``z = (x - mean) W + bias + relu((x - mean) V + c) U``, scaled to unit norm. A head that was
    folded from several experts first multiplies each column of ``z`` by ``[softmax(x G + g), 1]
    S``: the probability that the input belongs to the data of the column's expert, or 1.

    Attributes
    ----------
    mean : numpy.ndarray
        float32, shape (n_in,).
    linear : numpy.ndarray
        W: float32, shape (n_in, dim).
    bias : numpy.ndarray
        float32, shape (dim,).
    hidden, offset, out : numpy.ndarray or None
        V, c and U: float32, shapes (n_in, n_hidden), (n_hidden,) and (n_hidden, dim).
    gate, gate_bias, share : numpy.ndarray or None
        G, g and S: float32, shapes (n_in, n_experts), (n_experts,) and (n_experts + 1, dim).
    """

    mean: FloatArray
    linear: FloatArray
    bias: FloatArray
    hidden: FloatArray | None = None
    offset: FloatArray | None = None
    out: FloatArray | None = None
    gate: FloatArray | None = None
    gate_bias: FloatArray | None = None
    share: FloatArray | None = None

    @property
    def n_in(self) -> int:
        """Length of a vector of the encoder."""
        return int(self.linear.shape[0])

    @property
    def dim(self) -> int:
        """Length of an aligned vector."""
        return int(self.linear.shape[1])

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Project vectors into the aligned space.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, n_in).

        Returns
        -------
        numpy.ndarray
            float32, shape (n, dim); rows of unit norm.
        """
        projected = np.empty((len(vectors), self.dim), np.float32)
        for start in range(0, len(vectors), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            projected[chunk] = self._project(vectors[chunk])
        return projected

    def tensors(self) -> dict[str, FloatArray]:
        """Return the arrays by name, without absent ones."""
        arrays = {name: getattr(self, name) for name in _TENSORS}
        return {name: np.ascontiguousarray(a) for name, a in arrays.items() if a is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[np.floating]]) -> ProjectionHead:
        """Build a head from the arrays that `tensors` returns."""
        return cls(**{name: np.asarray(a, np.float32) for name, a in tensors.items()})

    def _project(self, vectors: npt.NDArray[np.floating]) -> FloatArray:
        # In float64, whose rounding float32 does not show: a product of matrices rounds by the
        # place of a row, and one content is to have one vector, in any batch.
        vectors = vectors.astype(np.float64)
        centred = vectors - self.mean  # (n, n_in)
        z = centred @ self.linear + self.bias  # (n, dim)
        if self.hidden is not None and self.offset is not None and self.out is not None:
            # Hidden layer: n_in to n_hidden to dim.
            z = z + np.maximum(centred @ self.hidden + self.offset, 0) @ self.out
        if self.gate is not None and self.gate_bias is not None and self.share is not None:
            experts = _softmax(vectors @ self.gate + self.gate_bias)  # (n, n_experts)
            z = z * (experts @ self.share[:-1] + self.share[-1])  # (n, dim)
        return unit_rows(z)


def unit_rows(vectors: npt.NDArray[np.floating]) -> FloatArray:
    """Return float32 rows of unit norm, shape (n, dim); a zero row becomes the first axis."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
    out[norms[:, 0] <= 1e-12] = np.eye(1, vectors.shape[1], dtype=np.float32)
    return out


def _softmax(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    # Subtracting the maximum of a row keeps exp from overflowing.
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
