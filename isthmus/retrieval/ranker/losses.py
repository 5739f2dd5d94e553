"""Losses of the ranking head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isthmus.retrieval.ranker.settings import Loss


def listwise_loss(scores: Tensor, labels: Tensor, mask: Tensor, corrections: Tensor) -> Tensor:
    """Give minus the mean log-probability of the positives among all candidates, for each user.

    The softmax over a user's pool (ListNet; Cao et al., ICML 2007) from a sample of it: a
    candidate kept with probability q has ``-log q`` added to its score.

    Parameters
    ----------
    scores : Tensor
        Shape (n_users, n_candidates).
    labels : Tensor
        bool, the same shape: which are positives.
    mask : Tensor
        bool, the same shape: which are candidates.
    corrections : Tensor
        log q, the same shape; 0 for positives.

    Returns
    -------
    Tensor
        Shape (n_users,); 0 for users without positives.
    """
    corrected = (scores - corrections).masked_fill(~mask, -torch.inf)
    logs = torch.log_softmax(corrected, dim=1).masked_fill(~labels, 0)
    return -logs.sum(dim=1) / labels.sum(dim=1).clamp(min=1)


def pairwise_loss(scores: Tensor, labels: Tensor, mask: Tensor, corrections: Tensor) -> Tensor:
    """Give minus the mean log-probability that a positive is above a negative, for each user.

    Bayesian personalized ranking (Rendle et al., UAI 2009) over all pairs; a negative kept with
    probability q weighs 1/q.

    Parameters and result are those of `listwise_loss`.
    """
    owners, places = labels.nonzero(as_tuple=True)
    gaps = scores[owners, places][:, None] - scores[owners]
    weights = (torch.exp(-corrections) * (mask & ~labels))[owners]
    losses = -nn.functional.logsigmoid(gaps) * weights
    total = scores.new_zeros(len(scores)).index_add(0, owners, losses.sum(dim=1))
    weight = scores.new_zeros(len(scores)).index_add(0, owners, weights.sum(dim=1))
    return total / weight.clamp(min=1e-9)


def loss_of(name: Loss, scores: Tensor, labels: Tensor, mask: Tensor, q: Tensor) -> Tensor:
    """Give a loss by its name."""
    return (listwise_loss if name == "listwise" else pairwise_loss)(scores, labels, mask, q)
