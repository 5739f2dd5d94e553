"""Losses of encoders: contrastive ones over pairs, and those towards another encoder's vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

MASKED: Final = -1e4  # a logit without probability


def symmetric_contrastive(
    first: torch.Tensor, second: torch.Tensor, same: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return the symmetric InfoNCE loss of a batch of pairs.

    Each side has to find the other side of its pair among those of the batch (van den Oord et
    al., "Representation learning with contrastive predictive coding", 2018; Radford et al.,
    "Learning transferable visual models from natural language supervision", ICML 2021). Copies of
    the answer are neither answers nor negatives.

    Parameters
    ----------
    first, second : torch.Tensor
        float32, shape (n, dim): unit rows; row i of one belongs to row i of the other.
    same : torch.Tensor
        bool, shape (n, n): whether first i belongs to second j in another pair, too.
    scale : torch.Tensor
        Inverse of the temperature.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    import torch
    from torch.nn.functional import cross_entropy

    itself = torch.eye(len(first), dtype=torch.bool, device=first.device)
    logits = (scale * first @ second.T).masked_fill(same & ~itself, float("-inf"))  # (n, n)
    answers = torch.arange(len(first), device=first.device)
    return (cross_entropy(logits, answers) + cross_entropy(logits.T, answers)) / 2


def same_content(text_ids: torch.Tensor, image_ids: torch.Tensor) -> torch.Tensor:
    """Return which pairs share a text or an image.

    Parameters
    ----------
    text_ids, image_ids : torch.Tensor
        int64, shape (n,): equal where the content is the same.

    Returns
    -------
    torch.Tensor
        bool, shape (n, n), symmetric.
    """
    return (text_ids[:, None] == text_ids) | (image_ids[:, None] == image_ids)


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - cosine over rows.

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
    """Return the divergence of the student's similarities within a batch from the teacher's.

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
        Divisor of the cosines; the smaller, the more the nearest rows count.

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

    def log_probabilities(vectors: torch.Tensor) -> torch.Tensor:
        cosines = (vectors @ vectors.T / temperature).masked_fill(itself, MASKED)  # (n, n)
        return log_softmax(cosines, dim=1)

    divergence = kl_div(
        log_probabilities(student),
        log_probabilities(teacher),
        reduction="batchmean",
        log_target=True,
    )
    return divergence.clamp(min=0)
