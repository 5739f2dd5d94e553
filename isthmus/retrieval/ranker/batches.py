"""Padded batches of candidates and histories."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.network import Batch

LONGEST = 50
LEAST = 1e-3


class Known(NamedTuple):
    """What attention looks at of histories.

    Attributes
    ----------
    contents : numpy.ndarray
        float32, shape (n_entries, content).
    traits : numpy.ndarray
        float32, shape (n_entries, 3), see `Batch`.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where each user's entries begin.
    """

    contents: FloatArray
    traits: FloatArray
    starts: Columns


def make_batch(
    features: FloatArray,
    starts: Columns,
    evidence: FloatArray,
    offered: FloatArray,
    known: Known,
) -> Batch:
    """Pad candidates and histories.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n_candidates, n_features).
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where each user's candidates begin.
    evidence : numpy.ndarray
        Shape (n_users,).
    offered : numpy.ndarray
        Shape (n_candidates, content).
    known : Known
        What attention looks at of the histories.
    """
    contents, traits, history_starts = known
    mask = padded(np.ones(starts[-1] - starts[0], bool), starts)
    return Batch(
        features=padded(features.astype(np.float32), starts),
        mask=mask,
        evidence=torch.from_numpy(np.asarray(evidence, np.float32)),
        offered=padded(offered, starts),
        known=padded(contents, history_starts),
        traits=padded(traits, history_starts),
        present=padded(np.ones(history_starts[-1] - history_starts[0], bool), history_starts),
    )


def known_of(
    corpus: TrainingData, histories: UserHistories, facts: ItemFacts, target: int
) -> Known:
    """Give contents and traits of the strongest 50 entries of each history."""
    kept = histories.liked.top_weighted(LONGEST)
    traits = np.stack(
        [
            np.log(np.maximum(kept.weights / np.maximum(kept.recency, LEAST), LEAST)),
            np.log(np.maximum(kept.recency, LEAST)),
            corpus.domains[kept.columns] == target,
        ],
        axis=1,
    ).astype(np.float32)
    return Known(facts.coarse(corpus, kept.columns), traits, kept.starts)


def padded(values: npt.NDArray[Any], starts: Columns) -> Tensor:
    """Give rows of one length, filled up with zeros, shape (n_rows, longest, ...)."""
    lengths = np.diff(starts)
    out = np.zeros((len(lengths), int(lengths.max(initial=0)), *values.shape[1:]), values.dtype)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    out[rows, np.arange(len(rows)) - (starts - starts[0])[rows]] = values
    return torch.from_numpy(out)
