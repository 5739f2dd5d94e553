"""Losses that draw a student's vectors to those of its teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NEVER = -1e4  # a logit that leaves no probability


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Give how far the student's vectors are turned away: the mean of 1 - cosine.

    Parameters
    ----------
    student, teacher : torch.Tensor
        Shape (n, dim), rows of unit norm.

    Returns
    -------
    torch.Tensor
        A scalar from 0 to 2.

    Examples
    --------
    >>> import torch
    >>> axes = torch.eye(2)
    >>> cosine_loss(axes, axes).item(), cosine_loss(axes, axes.flip(0)).item()
    (0.0, 1.0)
    """
    return 1 - (student * teacher).sum(1).mean()


def similarity_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Give how far apart the two are in what they find similar within a batch.

    For each row, the cosines with the other rows become probabilities by a softmax; the loss is
    the Kullback-Leibler divergence of the student's from the teacher's, averaged over rows
    (Fang et al., "SEED", ICLR 2021; Tejankar et al., "ISD", ICCV 2021, here within a batch).
    The two may differ in their dimensions.

    Parameters
    ----------
    student : torch.Tensor
        Shape (n, dim of the student), rows of unit norm, n > 1.
    teacher : torch.Tensor
        Shape (n, dim of the teacher), rows of unit norm.
    temperature : float
        What cosines are divided by; the smaller, the more the nearest rows count.

    Returns
    -------
    torch.Tensor
        A scalar, 0 where the two agree.

    Examples
    --------
    >>> import torch
    >>> turned = torch.eye(3).roll(1, 1)
    >>> similarity_loss(turned, torch.eye(3), 0.05).item()
    0.0
    """
    import torch
    from torch.nn.functional import kl_div, log_softmax

    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)

    def within(vectors: torch.Tensor) -> torch.Tensor:
        cosines = (vectors @ vectors.T / temperature).masked_fill(itself, _NEVER)
        return log_softmax(cosines, dim=1)

    found = kl_div(within(student), within(teacher), reduction="batchmean", log_target=True)
    return found.clamp(min=0)
