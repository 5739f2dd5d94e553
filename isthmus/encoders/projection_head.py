"""A head: from the vectors of one encoder into the aligned space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray

ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, eq=False)
class ProjectionHead:
    """A linear map after centring, with a nonlinear part beside it where one was learned.

    ``z = (x - mean) W + bias + relu((x - mean) V + c) U``, at unit norm. Where several experts
    were put into one head, each column of ``z`` is weighed before that by ``[softmax(x G + g), 1]
    S``: how much the input looks like what the column's expert learned from, or 1.

    Attributes
    ----------
    mean : numpy.ndarray
        float32, shape (n_in,).
    linear : numpy.ndarray
        float32, shape (n_in, dim).
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
        """Align vectors.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, n_in).

        Returns
        -------
        numpy.ndarray
            float32, shape (n, dim); rows of unit norm.
        """
        out = np.empty((len(vectors), self.dim), np.float32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            piece = slice(start, start + ROWS_AT_ONCE)
            out[piece] = self._align(vectors[piece])
        return out

    def tensors(self) -> dict[str, FloatArray]:
        """Give its arrays by name; absent ones left out."""
        named = {name: getattr(self, name) for name in _NAMES}
        return {name: np.ascontiguousarray(a) for name, a in named.items() if a is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, npt.NDArray[np.floating]]) -> ProjectionHead:
        """Make a head of its arrays."""
        return cls(**{name: np.asarray(a, np.float32) for name, a in tensors.items()})

    def _align(self, vectors: FloatArray) -> FloatArray:
        centred = vectors - self.mean  # (n, n_in)
        aligned = centred @ self.linear + self.bias  # (n, dim)
        if self.hidden is not None and self.offset is not None and self.out is not None:
            aligned = aligned + np.maximum(centred @ self.hidden + self.offset, 0) @ self.out
        if self.gate is not None and self.gate_bias is not None and self.share is not None:
            likely = _softmax(vectors @ self.gate + self.gate_bias)  # (n, n_experts)
            aligned = aligned * (likely @ self.share[:-1] + self.share[-1])
        return unit_rows(aligned)


def unit_rows(vectors: npt.NDArray[np.floating]) -> FloatArray:
    """Give rows of unit norm; a zero row becomes the first axis, so that every row has a place."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
    out[norms[:, 0] <= 1e-12] = np.eye(1, vectors.shape[1], dtype=np.float32)
    return out


def _softmax(scores: FloatArray) -> FloatArray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


_NAMES = ("mean", "linear", "bias", "hidden", "offset", "out", "gate", "gate_bias", "share")
