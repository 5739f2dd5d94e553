"""Softmax over the candidates of each user, and the listwise loss (ListNet; Cao et al., ICML 2007).

Scores are those of all candidates one after the other; the candidates of user *i* are ``starts[i]``
to ``starts[i + 1] - 1``.
"""

from __future__ import annotations

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_max, row_sum


def log_softmax(scores: FloatArray, starts: Columns) -> FloatArray:
    """Return the logarithms of the softmax of scores over the candidates of each user.

    Scores and result are float32, shape (n_candidates, ...).
    """
    owners = _owners(starts)
    shifted = scores - row_max(scores, starts)[owners]
    totals = row_sum(np.exp(shifted), starts)
    return np.asarray(shifted - np.log(np.maximum(totals, 1e-30))[owners], np.float32)


def label_shares(labels: Mask, starts: Columns) -> FloatArray:
    """Return the share of each candidate in the relevant ones of its user, shape (n_candidates,).

    Shares of a user sum to 1, or are 0 where nothing is relevant.
    """
    counts = row_sum(labels.astype(np.float32), starts)
    return np.asarray(labels / np.maximum(counts, 1)[_owners(starts)], np.float32)


def cross_entropy(
    scores: FloatArray, shares: FloatArray, starts: Columns
) -> tuple[float, FloatArray]:
    """Return the cross entropy of softmaxes with target shares, and its gradient by the scores.

    With `label_shares` it is minus the mean log-probability of the relevant candidates.

    Parameters
    ----------
    scores : numpy.ndarray
        float32, shape (n_candidates, ...); of each model, if there are several.
    shares : numpy.ndarray
        float32, broadcast to the shape of the scores; those of a user sum to 1.
    starts : numpy.ndarray
        int64, shape (n_users + 1,).

    Returns
    -------
    loss, gradient
        The mean over users, summed over models, and an array in the shape of the scores.
    """
    n = max(1, len(starts) - 1)
    logs = log_softmax(scores, starts)
    loss = -float((shares * logs).sum(dtype=np.float64)) / n
    return loss, np.asarray((np.exp(logs) - shares) / n, np.float32)


def _owners(starts: Columns) -> Columns:
    """Return the user of each candidate, int64, shape (n_candidates,)."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))
