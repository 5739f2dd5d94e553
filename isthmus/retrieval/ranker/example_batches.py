"""Examples as padded batches, to train on and to be scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.metrics import PerUser, ranking_metrics
from isthmus.numerics.sparse import ranges
from isthmus.numerics.top_k import largest
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import Known, known_of, make_batch
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.network import Batch, HeadNetwork


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
        at = ranges(whole.starts[users], lengths)
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
            top = largest(own, 10)
            top = top[np.isfinite(own[top])]
            row[: len(top)] = labels[top]
        return ranking_metrics(hits, self.examples.wanted[users], [10])["ndcg@10"]


def in_parts(users: Columns, size: int) -> Iterator[Columns]:
    """Give users in parts."""
    for start in range(0, len(users), size):
        yield users[start : start + size]
