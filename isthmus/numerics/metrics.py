"""Ranking metrics of each user, and rating errors.

`hits` is a boolean matrix of shape (n_users, n): whether the item at a rank is relevant.
`n_relevant` is the number of relevant items of each user, shape (n_users,). With ``h_i`` the hit at
rank i and ``t`` the number of relevant items:

* precision@k = ``sum_{i<=k} h_i / k``
* recall@k = ``sum_{i<=k} h_i / t``
* F1@k = ``2 P R / (P + R)``
* hit rate@k = ``max_{i<=k} h_i``
* MRR@k = ``1 / i`` of the first hit within k, else 0
* MAP@k = ``sum_{i<=k} h_i P@i / t``
* NDCG@k = ``sum_{i<=k} h_i / log2(i + 1)`` over the same sum for ``min(t, k)`` hits on top
  (Järvelin and Kekäläinen, ACM TOIS 2002, with binary gains)

A list shorter than k counts as padded with misses; a user without a list has 0 throughout.
The definitions are those of ranx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import Counts, Hits

PerUser = npt.NDArray[np.float64]


def precision(hits: Hits, k: int) -> PerUser:
    """Return precision@k, shape (n_users,).

    Examples
    --------
    >>> precision(np.array([[True, False, True, False]]), 4).tolist()
    [0.5]
    """
    return np.asarray(hits[:, :k].sum(axis=1) / k, np.float64)


def recall(hits: Hits, n_relevant: Counts, k: int) -> PerUser:
    """Return recall@k, shape (n_users,).

    Examples
    --------
    >>> recall(np.array([[True, False, True, False]]), np.array([5]), 4).tolist()
    [0.4]
    """
    return np.asarray(hits[:, :k].sum(axis=1) / n_relevant, np.float64)


def f1(hits: Hits, n_relevant: Counts, k: int) -> PerUser:
    """Return F1@k, shape (n_users,): ``2 P R / (P + R)`` is ``2 hits / (k + t)``.

    Examples
    --------
    >>> f1(np.array([[True, False, True, False]]), np.array([4]), 4).tolist()
    [0.5]
    """
    return np.asarray(2 * hits[:, :k].sum(axis=1) / (k + n_relevant), np.float64)


def hit_rate(hits: Hits, k: int) -> PerUser:
    """Return hit rate@k, shape (n_users,).

    Examples
    --------
    >>> hit_rate(np.array([[False, False, True]]), 2).tolist()
    [0.0]
    """
    return np.asarray(hits[:, :k].any(axis=1), np.float64)


def reciprocal_rank(hits: Hits, k: int) -> PerUser:
    """Return MRR@k before the mean, shape (n_users,).

    Examples
    --------
    >>> reciprocal_rank(np.array([[False, True, True], [False, False, False]]), 3).tolist()
    [0.5, 0.0]
    """
    within = hits[:, :k]
    if not within.shape[1]:
        return np.zeros(len(hits))
    return np.asarray(within.any(axis=1) / (within.argmax(axis=1) + 1), np.float64)


def average_precision(hits: Hits, n_relevant: Counts, k: int) -> PerUser:
    """Return MAP@k before the mean, shape (n_users,).

    Examples
    --------
    Hits at places 1 and 3 of three relevant items: (1/1 + 2/3) / 3.

    >>> average_precision(np.array([[True, False, True]]), np.array([3]), 3).round(4).tolist()
    [0.5556]
    """
    within = hits[:, :k]
    precisions = within.cumsum(axis=1) / np.arange(1, within.shape[1] + 1)
    return np.asarray((precisions * within).sum(axis=1) / n_relevant, np.float64)


def ndcg(hits: Hits, n_relevant: Counts, k: int) -> PerUser:
    """Return NDCG@k, shape (n_users,).

    Examples
    --------
    Hits at places 1 and 3 of three relevant items: (1 + 1/2) / (1 + 0.6309 + 1/2).

    >>> ndcg(np.array([[True, False, True]]), np.array([3]), 3).round(4).tolist()
    [0.7039]
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = discounts.cumsum()[np.minimum(n_relevant, k) - 1]
    within = hits[:, :k]
    return np.asarray(within @ discounts[: within.shape[1]] / ideal, np.float64)


def graded_ndcg(gains: npt.NDArray[Any], all_gains: npt.NDArray[Any], k: int) -> float:
    """Return NDCG@k of one list with graded gains.

    Parameters
    ----------
    gains : numpy.ndarray
        Shape (n,): the gain of each item of the list, in its order.
    all_gains : numpy.ndarray
        Shape (n_items,): the gains of all items, in any order.
    k : int
        Places of the list that count.

    Examples
    --------
    >>> graded_ndcg(np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0]), 2).__round__(4)
    0.6309
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.sort(all_gains)[::-1][:k]
    best = float(ideal @ discounts[: len(ideal)])
    return float(gains[:k] @ discounts[: len(gains)]) / best if best > 0 else 0.0


def ranking_metrics(hits: Hits, n_relevant: Counts, ks: Sequence[int]) -> dict[str, PerUser]:
    """Return every metric at every k, by names such as ``ndcg@10``; ``mrr`` is of the whole list.

    Parameters
    ----------
    hits : numpy.ndarray
        bool, shape (n_users, n).
    n_relevant : numpy.ndarray
        int64, shape (n_users,), 1 or more.
    ks : sequence of int
        Lengths of lists.

    Returns
    -------
    dict of str to numpy.ndarray
        float64, shape (n_users,), for each metric.

    Raises
    ------
    InvalidInput
        If a k is not 1 or more, or a user has no relevant item.
    """
    if min(ks, default=0) < 1 or n_relevant.min(initial=1) < 1:
        raise InvalidInput(f"metrics need k from 1 and users with relevant items; k is {tuple(ks)}")
    out: dict[str, PerUser] = {}
    for k in ks:
        out[f"ndcg@{k}"] = ndcg(hits, n_relevant, k)
        out[f"recall@{k}"] = recall(hits, n_relevant, k)
        out[f"precision@{k}"] = precision(hits, k)
        out[f"f1@{k}"] = f1(hits, n_relevant, k)
        out[f"hit_rate@{k}"] = hit_rate(hits, k)
        out[f"mrr@{k}"] = reciprocal_rank(hits, k)
        out[f"map@{k}"] = average_precision(hits, n_relevant, k)
    out["mrr"] = reciprocal_rank(hits, hits.shape[1])
    return out


def rating_errors(
    predicted: Sequence[npt.NDArray[np.floating[Any]]], ratings: Sequence[Sequence[float]]
) -> Mapping[str, float]:
    """Return ``rmse`` and ``mae`` over all ratings, each of the same weight.

    Parameters
    ----------
    predicted : sequence of numpy.ndarray
        For each user, the predicted values.
    ratings : sequence of sequence of float
        For each user, the true values.

    Raises
    ------
    InvalidInput
        If a user has not one finite prediction a rating.

    Examples
    --------
    Errors of 1, -1, 2 and 2.

    >>> errors = rating_errors([np.array([4.0, 2.0]), np.array([5.0, 3.0])], [[3, 3], [3, 1]])
    >>> round(errors["rmse"], 4), errors["mae"]
    (1.5811, 1.5)
    """
    for number, (ours, theirs) in enumerate(zip(predicted, ratings, strict=True)):
        if len(ours) != len(theirs) or not np.isfinite(ours).all():
            raise InvalidInput(
                f"the predictions of user number {number} are not {len(theirs)} finite values"
            )
    errors = np.concatenate([*predicted, []]) - np.concatenate([*map(np.asarray, ratings), []])
    return {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(np.abs(errors).mean())}
