"""Terms that make the domains alike: a critic behind a gradient reversal, and CORAL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def reverse_gradient(values: Tensor, weight: float) -> Tensor:
    """Give the values; their gradient comes back with the other sign, times a weight."""
    return torch.as_tensor(_Reversal.apply(values, weight))


def make_critic(dim: int, domains: int) -> nn.Module:
    """Make a network that tells the domain from a vector."""
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, domains))


def domain_loss(critic: nn.Module, vectors: Tensor, domains: Tensor, weight: float) -> Tensor:
    """Give the loss of telling domains apart: the critic learns to, the vectors learn to resist.

    Domain-adversarial training (Ganin et al., JMLR 2016).
    """
    return nn.functional.cross_entropy(critic(reverse_gradient(vectors, weight)), domains)


def coral_loss(vectors: Tensor, domains: Tensor) -> Tensor:
    """Give the squared distance between the domains' means and covariances, over their length.

    Deep CORAL (Sun and Saenko, ECCV 2016), with the means beside the covariances, averaged over
    the pairs of domains that have two vectors or more.
    """
    parts = [vectors[domains == code] for code in torch.unique(domains)]
    parts = [part for part in parts if len(part) > 1]
    dim, losses = vectors.shape[1], []
    for i, one in enumerate(parts):
        for other in parts[:i]:
            spread = (torch.cov(one.T) - torch.cov(other.T)).square().sum() / (4 * dim**2)
            losses.append(spread + (one.mean(0) - other.mean(0)).square().sum() / dim)
    return torch.stack(losses).mean() if losses else vectors.sum() * 0
