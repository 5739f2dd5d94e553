"""Domain adaptation losses: a domain classifier behind a gradient reversal, CORAL, and MMD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # over the mean squared distance


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def reverse_gradient(values: Tensor, weight: float) -> Tensor:
    """Return the values, of any shape; their gradient is multiplied by minus the weight."""
    return torch.as_tensor(_Reversal.apply(values, weight))


def make_critic(dim: int, domains: int) -> nn.Module:
    """Return a classifier of the domain of a vector."""
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, domains))


def domain_loss(critic: nn.Module, vectors: Tensor, domains: Tensor, weight: float) -> Tensor:
    """Return the loss of a domain classifier, which the vectors are trained to increase.

    Domain-adversarial training (Ganin et al., JMLR 2016). `vectors` has shape (n, dim), `domains`
    shape (n,).
    """
    return nn.functional.cross_entropy(critic(reverse_gradient(vectors, weight)), domains)


def coral_loss(vectors: Tensor, domains: Tensor) -> Tensor:
    """Return the squared distance between the domains' means and covariances, over the dimension.

    `vectors` has shape (n, dim), `domains` shape (n,). Deep CORAL (Sun and Saenko, ECCV 2016), with
    means added to the covariances. It is averaged over the pairs of domains that have two vectors
    or more.
    """
    dim = vectors.shape[1]

    def distance(one: Tensor, other: Tensor) -> Tensor:
        spread = (torch.cov(one.T) - torch.cov(other.T)).square().sum() / (4 * dim**2)
        return spread + (one.mean(0) - other.mean(0)).square().sum() / dim

    return _over_pairs(vectors, domains, distance)


def mmd_loss(vectors: Tensor, domains: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy between the domains.

    `vectors` has shape (n, dim), `domains` shape (n,). The kernel is the mean of five Gaussian
    kernels, whose widths are the mean squared distance times 1/4 to 4 (Gretton et al., JMLR 2012;
    Long et al., ICML 2015), averaged over the pairs of domains that have two vectors or more. It is
    zero only for equal distributions, where CORAL compares two moments.
    """

    def distance(one: Tensor, other: Tensor) -> Tensor:
        both = torch.cat([one, other])
        squares = both.square().sum(1)
        apart = (squares[:, None] + squares - 2 * both @ both.T).clamp_min(0)
        width = apart.detach().mean().clamp_min(1e-12)
        near = torch.stack([torch.exp(-apart / (scale * width)) for scale in KERNEL_WIDTHS]).mean(0)
        n = len(one)
        return near[:n, :n].mean() + near[n:, n:].mean() - 2 * near[:n, n:].mean()

    return _over_pairs(vectors, domains, distance)


def _over_pairs(
    vectors: Tensor, domains: Tensor, distance: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the mean distance over the pairs of domains that have two vectors or more."""
    parts = [vectors[domains == code] for code in torch.unique(domains)]
    parts = [part for part in parts if len(part) > 1]
    losses = [distance(one, other) for i, one in enumerate(parts) for other in parts[:i]]
    return torch.stack(losses).mean() if losses else vectors.sum() * 0
