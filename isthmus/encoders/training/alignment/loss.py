"""The symmetric contrastive loss, in which copies of a content are no negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def symmetric_contrastive(
    text: torch.Tensor, image: torch.Tensor, same: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Give the symmetric InfoNCE loss of a batch of pairs.

    Each text has to find its picture among those of the batch, and each picture its text (van den
    Oord et al., "Representation learning with contrastive predictive coding", 2018; Radford et
    al., "Learning transferable visual models from natural language supervision", 2021). What is
    the same content as the answer is neither answer nor negative.

    Parameters
    ----------
    text, image : torch.Tensor
        float32, shape (n, dim): unit rows; row i of one belongs to row i of the other.
    same : torch.Tensor
        bool, shape (n, n): whether text i belongs to picture j too, though they are not one pair.
    scale : torch.Tensor
        One over the temperature.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    import torch
    from torch.nn.functional import cross_entropy

    itself = torch.eye(len(text), dtype=torch.bool, device=text.device)
    logits = (scale * text @ image.T).masked_fill(same & ~itself, float("-inf"))  # (n, n)
    answers = torch.arange(len(text), device=text.device)
    return (cross_entropy(logits, answers) + cross_entropy(logits.T, answers)) / 2


def belongs(text_ids: torch.Tensor, image_ids: torch.Tensor) -> torch.Tensor:
    """Tell which texts belong to which pictures: pairs that share a text or a picture.

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
