"""Pooling: from the hidden states of a text or an image to one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from isthmus.errors import InvalidInput

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
