"""Pooling: from hidden states to one vector, and from the vectors of pieces to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "cls", "last"]


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Make one vector of the hidden states of each row.

    Parameters
    ----------
    hidden : torch.Tensor
        Shape (n, length, dim).
    mask : torch.Tensor
        Shape (n, length); one where there is a token, zero where there is padding behind.
    pooling : {"mean", "cls", "last"}
        Mean of all tokens, the first token, or the last.

    Returns
    -------
    torch.Tensor
        Shape (n, dim).

    Examples
    --------
    >>> import torch
    >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> [pool(hidden, mask, how).item() for how in ("mean", "cls", "last")]
    [2.0, 1.0, 3.0]
    """
    if pooling == "cls":
        return hidden[:, 0]
    lengths = mask.sum(1).clamp(min=1)
    if pooling == "last":
        return hidden.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]
    total = (hidden * mask[..., None].to(hidden.dtype)).sum(1)
    return total / lengths[:, None].to(hidden.dtype)


def mean_of_pieces(vectors: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Make one vector of those of each content's pieces: their mean, at unit norm.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (sum(counts), dim), unit rows.
    counts : sequence of int
        Pieces of each content, at least one.

    Returns
    -------
    numpy.ndarray
        float32, shape (len(counts), dim).

    Examples
    --------
    >>> mean_of_pieces(np.float32([[1, 0], [0, 1], [1, 0]]), [1, 2]).round(3).tolist()
    [[1.0, 0.0], [0.7070000171661377, 0.7070000171661377]]
    """
    if len(vectors) == len(counts):
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(norms > 0, norms, 1), np.float32)


def as_pooling(name: str, allowed: tuple[Pooling, ...] = get_args(Pooling)) -> Pooling:
    """Check the name of a pooling that a user gave.

    Raises
    ------
    InvalidInput
        If it is none of those allowed.
    """
    for pooling in allowed:
        if name == pooling:
            return pooling
    raise InvalidInput(f"unknown pooling {name!r}; use one of {', '.join(allowed)}")
