"""Negative sampling: items to train against, and the softmax over all items from a sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns


class NegativeSampler:
    """Samples of a group of items: half by the root of popularity, half uniformly.

    Parameters
    ----------
    popularity : numpy.ndarray
        float64, shape (n_items,).
    groups : numpy.ndarray
        int64, shape (n_items,): the group of each item, such as its domain.
    n_groups : int
        Number of groups.
    size : int
        Items of a sample, expected at most; a group with no more items is returned whole.
    """

    def __init__(
        self, popularity: npt.NDArray[np.float64], groups: Columns, n_groups: int, size: int
    ) -> None:
        self._size = size
        self._columns = [np.flatnonzero(groups == group) for group in range(n_groups)]
        self._probabilities = []
        for columns in self._columns:
            popular = np.sqrt(popularity[columns])
            uniform = np.full(len(columns), 1 / max(1, len(columns)))
            self._probabilities.append((popular / max(popular.sum(), 1e-12) + uniform) / 2)

    def sample(self, group: int, rng: np.random.Generator) -> tuple[Columns, Tensor]:
        """Return distinct items, ascending, and the log-probability of each to be sampled.

        Both have shape (n_sampled,).
        """
        columns, probabilities = self._columns[group], self._probabilities[group]
        if len(columns) <= self._size:
            return columns, torch.zeros(len(columns))
        inclusion = 1 - (1 - probabilities) ** self._size  # as if drawn with replacement
        sampled = np.flatnonzero(rng.random(len(columns)) < inclusion)
        return columns[sampled], torch.from_numpy(np.log(inclusion[sampled])).float()


def sampled_softmax(
    positives: Tensor, owners: Tensor, negatives: Tensor, log_q: Tensor, is_positive: Tensor
) -> Tensor:
    """Return the loss of each positive: minus its log-probability among all items.

    The sum over all items that are not positives of the user is estimated from a sample: an item
    sampled with probability q stands for 1/q items, so log q is subtracted from its score (the
    logQ correction; Bengio and Senécal, 2008; Yi et al., RecSys 2019). If every item is sampled
    with certainty, the loss is that of the full softmax.

    Parameters
    ----------
    positives : Tensor
        Scores of the positives of all users, shape (n_positives,).
    owners : Tensor
        int64, shape (n_positives,): the user of each.
    negatives : Tensor
        Scores of the sampled items, shape (n_users, n_sampled).
    log_q : Tensor
        Log-probability of each item to be sampled, shape (n_sampled,).
    is_positive : Tensor
        bool, shape (n_users, n_sampled): whether a sampled item is a positive of the user; it is
        masked, since positives are counted by themselves.

    Returns
    -------
    Tensor
        Shape (n_positives,).
    """
    corrected = (negatives - log_q).masked_fill(is_positive, -torch.inf)
    rest = corrected.logsumexp(dim=1)  # (n_users,)
    # The log-sum-exp over the positives and the rest, shifted by the maximum of each user.
    top = torch.maximum(
        rest.detach(),
        torch.full_like(rest, -torch.inf).scatter_reduce(0, owners, positives.detach(), "amax"),
    )
    total = torch.exp(rest - top).index_add(0, owners, torch.exp(positives - top[owners]))
    return (torch.log(total) + top)[owners] - positives
