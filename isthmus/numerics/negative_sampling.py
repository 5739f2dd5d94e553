"""The softmax over many items, from some of them."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_softmax(
    positives: Tensor,
    owners: Tensor,
    others: Tensor,
    corrections: Tensor,
    own: Tensor,
) -> Tensor:
    """Give the loss of each positive: minus its log-probability among all items.

    The sum over all items that are not a user's own is estimated from a sample: an item drawn with
    probability q stands for 1/q items, so ``-log q`` is *added* to its score (the logQ correction;
    Bengio and Senécal, 2008; Yi et al., RecSys 2019). Where every item is in the sample with
    certainty the loss is that of the full softmax.

    Parameters
    ----------
    positives : Tensor
        Scores of the positives of all users, shape (n_positives,).
    owners : Tensor
        int64, shape (n_positives,): the user of each.
    others : Tensor
        Scores of the sampled items, shape (n_users, n_sampled).
    corrections : Tensor
        log q of the sampled items, shape (n_sampled,): the log-probability of being sampled.
    own : Tensor
        bool, shape (n_users, n_sampled): where a sampled item is one of the user's positives; it
        is left out, since the positives count by themselves.

    Returns
    -------
    Tensor
        Shape (n_positives,).
    """
    negatives = (others - corrections).masked_fill(own, -torch.inf).logsumexp(dim=1)
    top = torch.maximum(
        negatives.detach(),
        torch.full_like(negatives, -torch.inf).scatter_reduce(
            0, owners, positives.detach(), "amax"
        ),
    )
    total = torch.exp(negatives - top).index_add(0, owners, torch.exp(positives - top[owners]))
    return (torch.log(total) + top)[owners] - positives
