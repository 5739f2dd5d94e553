"""Padded batches of candidates and histories, to train a ranker on and to score with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.metrics import PerUser, ranking_metrics
from isthmus.numerics.sparse import concatenate_ranges
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.network import Batch, RankerNetwork

MAX_HISTORY = 50
MIN_TRAIT = 1e-3
LIST_LENGTH = 10


class HistoryInputs(NamedTuple):
    """What the attention of a ranker reads of histories.

    Attributes
    ----------
    contents : numpy.ndarray
        float32, shape (n_entries, coarse_dim).
    traits : numpy.ndarray
        float32, shape (n_entries, 3), see `Batch`.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the entries of user *i* are ``starts[i]`` to
        ``starts[i + 1]``.
    """

    contents: FloatArray
    traits: FloatArray
    starts: Columns


class LabelledBatch(NamedTuple):
    """A batch with its labels.

    Attributes
    ----------
    batch : Batch
        Candidates and histories.
    labels : Tensor
        bool, shape (n_users, n_candidates): which candidates are relevant.
    log_probabilities : Tensor
        float32, the same shape: logarithm of the sampling probability of a candidate.
    """

    batch: Batch
    labels: Tensor
    log_probabilities: Tensor


def history_inputs(
    data: TrainingData, histories: UserHistories, statistics: ItemStatistics, target: int
) -> HistoryInputs:
    """Return contents and traits of the 50 strongest entries of each history."""
    strongest = histories.liked.top_weighted(MAX_HISTORY)
    strength = strongest.weights / np.maximum(strongest.recency, MIN_TRAIT)
    traits = np.stack(
        [
            np.log(np.maximum(strength, MIN_TRAIT)),
            np.log(np.maximum(strongest.recency, MIN_TRAIT)),
            data.domains[strongest.columns] == target,
        ],
        axis=1,
    ).astype(np.float32)
    return HistoryInputs(statistics.coarse(data, strongest.columns), traits, strongest.starts)


def make_batch(
    features: FloatArray,
    starts: Columns,
    evidence: FloatArray,
    candidate_contents: FloatArray,
    history: HistoryInputs,
) -> Batch:
    """Pad candidates and histories.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n_candidates, n_features).
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where the candidates of each user begin.
    evidence : numpy.ndarray
        Shape (n_users,).
    candidate_contents : numpy.ndarray
        Shape (n_candidates, coarse_dim).
    history : HistoryInputs
        The histories.
    """
    n_entries = history.starts[-1] - history.starts[0]
    return Batch(
        features=padded(features.astype(np.float32), starts),
        mask=padded(np.ones(starts[-1] - starts[0], bool), starts),
        evidence=torch.from_numpy(np.asarray(evidence, np.float32)),
        candidate_contents=padded(candidate_contents, starts),
        history_contents=padded(history.contents, history.starts),
        history_traits=padded(history.traits, history.starts),
        history_mask=padded(np.ones(n_entries, bool), history.starts),
    )


def padded(values: npt.NDArray[Any], starts: Columns) -> Tensor:
    """Return rows of equal length, padded with zeros, shape (n_rows, max_length, ...)."""
    lengths = np.diff(starts)
    out = np.zeros((len(lengths), int(lengths.max(initial=0)), *values.shape[1:]), values.dtype)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    out[rows, np.arange(len(rows)) - (starts - starts[0])[rows]] = values
    return torch.from_numpy(out)


@dataclass(frozen=True, eq=False)
class ExampleBatches:
    """Makes batches of examples.

    Attributes
    ----------
    examples : Examples
        The examples.
    contents : numpy.ndarray
        float32, shape (n_items, coarse_dim): coarse contents of all items.
    history_inputs : callable
        Returns contents and traits of histories.
    """

    examples: Examples
    contents: FloatArray
    history_inputs: Callable[[UserHistories], HistoryInputs]

    @classmethod
    def of(
        cls, examples: Examples, data: TrainingData, statistics: ItemStatistics
    ) -> ExampleBatches:
        """Take contents and domains from training data."""
        return cls(
            examples,
            statistics.coarse(data, np.arange(len(data))),
            lambda histories: history_inputs(data, histories, statistics, examples.target),
        )

    @property
    def validation(self) -> Columns:
        """Positions of the validation examples, int64, shape (n_validation,)."""
        return np.flatnonzero(self.examples.validation)

    def make(self, rows: Columns) -> LabelledBatch:
        """Make a batch of the examples at some positions."""
        examples = self.examples
        lengths = examples.starts[rows + 1] - examples.starts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = concatenate_ranges(examples.starts[rows], lengths)
        batch = make_batch(
            examples.features[at],
            starts,
            examples.evidence[rows],
            self.contents[examples.items[at]],
            self.history_inputs(examples.histories.take_users(rows)),
        )
        labels = torch.zeros(batch.mask.shape, dtype=torch.bool)
        labels[batch.mask] = torch.from_numpy(examples.labels[at])
        log_probabilities = torch.zeros(batch.mask.shape)
        log_probabilities[batch.mask] = torch.from_numpy(examples.log_probabilities[at])
        return LabelledBatch(batch, labels, log_probabilities)

    def scores(
        self, network: RankerNetwork, rows: Columns, batch_size: int, device: str = "cpu"
    ) -> Iterator[FloatArray]:
        """Score the candidates of each example, shape (n_candidates of the example,)."""
        network.eval()
        with torch.inference_mode():
            for chunk in chunks(rows, batch_size):
                batch = self.make(chunk).batch
                scores = network.score(batch.to(device)).cpu().numpy()
                for row, mask in zip(scores, batch.mask.numpy(), strict=True):
                    yield row[mask]

    def ndcg(self, rows: Columns, scores: Iterator[FloatArray]) -> PerUser:
        """Return NDCG@10 of examples by scores; a candidate scored -inf is not in the list."""
        hits = np.zeros((len(rows), LIST_LENGTH), bool)
        for hit, row, candidate_scores in zip(hits, rows, scores, strict=True):
            labels = self.examples.labels[self.examples.starts[row] :]
            top = top_k(candidate_scores, LIST_LENGTH)
            top = top[np.isfinite(candidate_scores[top])]
            hit[: len(top)] = labels[top]
        metric = f"ndcg@{LIST_LENGTH}"
        return ranking_metrics(hits, self.examples.n_relevant[rows], [LIST_LENGTH])[metric]


def chunks(rows: Columns, size: int) -> Iterator[Columns]:
    """Return positions in chunks of a size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
