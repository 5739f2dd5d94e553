"""Padded batches of candidates and histories."""

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
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.network import Batch, HeadNetwork

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


class Labelled(NamedTuple):
    """A batch, and which of its candidates were liked.

    Attributes
    ----------
    batch : Batch
        Candidates and histories.
    labels : Tensor
        bool, shape (n_users, n_candidates).
    corrections : Tensor
        float32, the same shape: log-probability that a candidate was kept.
    """

    batch: Batch
    labels: Tensor
    corrections: Tensor


@dataclass(frozen=True, eq=False)
class ExampleBatches:
    """Makes batches of examples.

    Attributes
    ----------
    examples : Examples
        What from.
    contents : numpy.ndarray
        float32, shape (n_items, content): coarse contents of all items.
    known : callable
        Gives contents and traits of histories.
    """

    examples: Examples
    contents: FloatArray
    known: Callable[[UserHistories], Known]

    @classmethod
    def of(cls, examples: Examples, corpus: TrainingData, facts: ItemFacts) -> ExampleBatches:
        """Take contents and domains from a corpus."""
        return cls(
            examples,
            facts.coarse(corpus, np.arange(len(corpus))),
            lambda histories: known_of(corpus, histories, facts, examples.target),
        )

    def make(self, users: Columns) -> Labelled:
        """Make a batch of some examples."""
        whole = self.examples
        lengths = whole.starts[users + 1] - whole.starts[users]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = concatenate_ranges(whole.starts[users], lengths)
        batch = make_batch(
            whole.features[at],
            starts,
            whole.evidence[users],
            self.contents[whole.items[at]],
            self.known(whole.histories.take_users(users)),
        )
        labels = torch.zeros(batch.mask.shape, dtype=torch.bool)
        labels[batch.mask] = torch.from_numpy(whole.labels[at])
        corrections = torch.zeros(batch.mask.shape)
        corrections[batch.mask] = torch.from_numpy(whole.corrections[at])
        return Labelled(batch, labels, corrections)

    def scores(
        self, network: HeadNetwork, users: Columns, size: int, device: str = "cpu"
    ) -> Iterator[FloatArray]:
        """Score the candidates of each example, shape (n_candidates of it,)."""
        network.eval()
        with torch.inference_mode():
            for some in in_parts(users, size):
                batch = self.make(some).batch
                scores = network.score(batch.to(device)).cpu().numpy()
                mask = batch.mask.numpy()
                yield from (row[own] for row, own in zip(scores, mask, strict=True))

    def ndcg(self, users: Columns, scores: Iterator[FloatArray]) -> PerUser:
        """Give NDCG@10 of examples by scores; what has -inf is not in the list."""
        hits = np.zeros((len(users), 10), bool)
        for row, user, own in zip(hits, users, scores, strict=True):
            labels = self.examples.labels[self.examples.starts[user] :]
            top = top_k(own, 10)
            top = top[np.isfinite(own[top])]
            row[: len(top)] = labels[top]
        return ranking_metrics(hits, self.examples.wanted[users], [10])["ndcg@10"]


def in_parts(users: Columns, size: int) -> Iterator[Columns]:
    """Give users in parts."""
    for start in range(0, len(users), size):
        yield users[start : start + size]
