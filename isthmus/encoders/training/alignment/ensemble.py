"""Several pairs of linear heads folded into one that scores as their mean does, nearly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.training.alignment.closed_form import Heads
from isthmus.encoders.training.alignment.pairs import Pairs
from isthmus.numerics.arrays import FloatArray


def fold(members: Sequence[Heads], pairs: Pairs, dim: int) -> Heads:
    """Fold heads into one pair of heads.

    The mean of the members' inner products is one bilinear form of the two inputs, and the best
    approximation of rank `dim` of a form is its singular value decomposition (Eckart and Young,
    "The approximation of one matrix by another of lower rank", Psychometrika, 1936), here over
    the covariances of the inputs. Only the norms of single members are lost.

    Parameters
    ----------
    members : sequence of tuple of Head
        Linear heads of text and image.
    pairs : Pairs
        What inputs look like.
    dim : int
        Length of the aligned vectors.
    """
    text = _stacked([heads[0] for heads in members], pairs.text)
    image = _stacked([heads[1] for heads in members], pairs.image)
    turn_text, turn_image = _common_axes(text(pairs.text), image(pairs.image), dim)
    return _turned(text, turn_text), _turned(image, turn_image)


class _Stack(ProjectionHead):
    """Heads side by side, before norms are taken."""

    def __call__(self, vectors: FloatArray) -> FloatArray:
        return np.asarray((vectors - self.mean) @ self.linear + self.bias, np.float32)


def _stacked(heads: Sequence[ProjectionHead], inputs: FloatArray) -> _Stack:
    """Put heads side by side, each divided by the typical norm of what it gives."""
    linear, bias = [], []
    for head in heads:
        out = (inputs - head.mean) @ head.linear + head.bias
        size = float(np.sqrt((out**2).sum(1).mean()))
        linear.append(head.linear / size)
        bias.append(head.bias / size)
    return _Stack(heads[0].mean, np.concatenate(linear, 1), np.concatenate(bias))


def _common_axes(text: FloatArray, image: FloatArray, dim: int) -> tuple[FloatArray, FloatArray]:
    """Give turns of both sides, shape (n_stacked, dim), that keep most of the inner products."""
    roots = [_root(text), _root(image)]
    left, strength, right = np.linalg.svd(roots[0] @ roots[1], full_matrices=False)
    kept = np.sqrt(strength[:dim])
    back = [np.linalg.pinv(root, rcond=1e-6, hermitian=True) for root in roots]
    turn_text = back[0] @ (left[:, :dim] * kept)
    turn_image = back[1] @ (right[:dim].T * kept)
    return turn_text.astype(np.float32), turn_image.astype(np.float32)


def _root(values: FloatArray) -> FloatArray:
    """Give the symmetric root of the second moments of some values."""
    scale, axes = np.linalg.eigh(values.T.astype(np.float64) @ values / len(values))
    return np.asarray((axes * np.sqrt(np.maximum(scale, 0))) @ axes.T)


def _turned(stack: _Stack, turn: FloatArray) -> ProjectionHead:
    return ProjectionHead(stack.mean, stack.linear @ turn, stack.bias @ turn)
