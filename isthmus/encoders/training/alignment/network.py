"""The heads of two encoders as a network that learns, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import dropout, normalize

from isthmus.encoders.projection_head import ProjectionHead

if TYPE_CHECKING:
    from isthmus.numerics.arrays import FloatArray


class HeadNetwork(nn.Module):
    """A head that learns, from a head that was found in closed form.

    Parameters
    ----------
    start : Head
        Where it starts; a hidden part, if any, starts with nothing to say.
    hidden : int
        Units of the nonlinear part.
    drop : float
        Share of the inputs that is dropped in learning.
    inputs : numpy.ndarray
        float32, shape (n, n_in): tells how large inputs are.
    """

    def __init__(self, start: ProjectionHead, hidden: int, drop: float, inputs: FloatArray) -> None:
        super().__init__()
        self.mean = torch.from_numpy(start.mean)
        self.linear = nn.Parameter(torch.from_numpy(start.linear.copy()))
        self.bias = nn.Parameter(torch.from_numpy(start.bias.copy()))
        self.start = torch.from_numpy(start.linear.copy())
        self._drop = drop
        self._hidden = hidden
        if hidden:
            spread = float(torch.from_numpy(inputs - start.mean).pow(2).sum(1).mean().sqrt())
            self.inner = nn.Parameter(torch.randn(start.n_in, hidden) / max(spread, 1e-6))
            self.offset = nn.Parameter(torch.zeros(hidden))
            self.outer = nn.Parameter(torch.zeros(hidden, start.dim))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Align vectors, shape (n, n_in), to unit rows, shape (n, dim)."""
        centred = dropout(vectors - self.mean, self._drop, self.training)
        aligned = centred @ self.linear + self.bias
        if self._hidden:
            units = torch.relu(centred @ self.inner + self.offset)
            aligned = aligned + dropout(units, self._drop, self.training) @ self.outer
        return normalize(aligned, dim=-1)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Give its parameters with steps in proportion to their size."""
        size = float(self.start.std())
        groups: list[dict[str, Any]] = [
            {"params": [self.linear], "lr": rate * size},
            {"params": [self.bias], "lr": rate * self.start.shape[1] ** -0.5},
        ]
        if self._hidden:
            unit = self._hidden**-0.5 * self.start.shape[1] ** -0.5
            groups += [
                {"params": [self.inner], "lr": rate * float(self.inner.detach().std())},
                {"params": [self.offset], "lr": rate},
                {"params": [self.outer], "lr": rate * unit * 3},
            ]
        return groups

    def moved(self) -> torch.Tensor:
        """Give the squared distance from the start, relative to its size."""
        return (self.linear - self.start).pow(2).sum() / self.start.pow(2).sum()

    def head(self) -> ProjectionHead:
        """Give the head as it is now."""

        def array(tensor: torch.Tensor) -> FloatArray:
            return tensor.detach().cpu().numpy().copy()

        parts = [array(self.mean), array(self.linear), array(self.bias)]
        if self._hidden:
            parts += [array(self.inner), array(self.offset), array(self.outer)]
        return ProjectionHead(*parts)
