"""Training of a fine-tuned network: batches of pairs, the loss, and the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.encoders.training.finetuning.pairs import Pairs
from isthmus.encoders.training.losses import cosine_loss, similarity_loss, symmetric_contrastive
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.encoders.training.settings import FinetuneSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import (
    OnEpoch,
    TrainingHistory,
    TrainingLoop,
    Validation,
    linear_decay,
)

if TYPE_CHECKING:
    import torch

    from isthmus.encoders.training.finetuning.network import TunedNetwork


class PairBatch(NamedTuple):
    """One batch: positive pairs, and anchor texts of other domains.

    Attributes
    ----------
    rows : numpy.ndarray
        int64, shape (n,): the distinct contents of the batch.
    first, second : numpy.ndarray
        int64, shape (n_pairs,): positions in `rows` of the two sides of each pair.
    positives : numpy.ndarray
        bool, shape (n_pairs, n_pairs): whether the first side of pair i belongs to the second
        side of pair j, so that it is no negative.
    anchor_positions : numpy.ndarray
        int64, shape (n_anchors,): positions in `rows` of the anchor texts.
    anchors : numpy.ndarray
        int64, shape (n_anchors,): numbers of the anchor texts.
    """

    rows: Rows
    first: Rows
    second: Rows
    positives: npt.NDArray[np.bool_]
    anchor_positions: Rows
    anchors: Rows


class PairBatches:
    """Batches of pairs in a random order that depends on the seed and the epoch alone.

    Parameters
    ----------
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): the training pairs.
    known : numpy.ndarray
        int64, shape (n_known, 2): all known pairs, the training pairs among them; they are never
        used as negatives.
    ordered : bool
        Whether the sides of a pair differ in kind; if not, they are swapped at random.
    anchor_rows : range
        Rows of the anchor texts.
    settings : FinetuneSettings
        Batch size, anchors a batch, and the seed.
    """

    def __init__(
        self,
        pairs: Pairs,
        known: Pairs,
        ordered: bool,
        anchor_rows: range,
        settings: FinetuneSettings,
    ) -> None:
        from scipy.sparse import csr_array

        self._pairs, self._ordered, self._anchor_rows = pairs, ordered, anchor_rows
        self._settings = settings
        self._size = min(settings.batch_size, len(pairs))
        self.steps_per_epoch = len(pairs) // self._size  # an incomplete batch is left out
        count = max(int(known.max()) + 1, 1)
        both = np.concatenate([known, known[:, ::-1]])
        self._known = csr_array((np.ones(len(both)), both.T), shape=(count, count))

    def of_epoch(self, epoch: int) -> Iterator[PairBatch]:
        """Return the batches of an epoch, numbered from 1."""
        order = np.random.default_rng([self._settings.seed, epoch - 1]).permutation(
            len(self._pairs)
        )
        for step in range(self.steps_per_epoch):
            rows = order[step * self._size : (step + 1) * self._size]
            yield self._batch(self._pairs[rows], [self._settings.seed, epoch - 1, step])

    def _batch(self, pairs: Pairs, seed: list[int]) -> PairBatch:
        rng, settings = np.random.default_rng(seed), self._settings
        if not self._ordered:
            swapped = rng.random(len(pairs)) < 0.5
            pairs = np.where(swapped[:, None], pairs[:, ::-1], pairs)
        count = min(settings.anchor_texts, len(self._anchor_rows)) if settings.anchor_weight else 0
        anchors = rng.choice(len(self._anchor_rows), count, replace=False)
        contents = np.concatenate([pairs.T.ravel(), anchors + self._anchor_rows.start])
        rows, positions = np.unique(contents, return_inverse=True)
        first, second, anchor_positions = np.split(positions, [len(pairs), 2 * len(pairs)])
        return PairBatch(rows, first, second, self._positives(pairs), anchor_positions, anchors)

    def _positives(self, pairs: Pairs) -> npt.NDArray[np.bool_]:
        """Return which first sides belong to which second sides: known pairs, and copies."""
        first, second = pairs.T
        known = np.asarray(self._known[first][:, second].toarray() > 0)
        copies = (first[:, None] == first) | (second[:, None] == second)
        positives: npt.NDArray[np.bool_] = known | copies | (first[:, None] == second)
        return positives


def train_network(
    network: TunedNetwork,
    batches: PairBatches,
    anchor_vectors: FloatArray,
    measure: Callable[[], float],
    settings: FinetuneSettings,
    checkpoint: Checkpoint,
    *,
    on_epoch: OnEpoch | None = None,
    show: bool = False,
) -> TrainingHistory:
    """Fine-tune a network in place, and leave it with the weights of its best epoch.

    An interrupted run resumes from its checkpoint and ends with the same network.

    Parameters
    ----------
    network : TunedNetwork
        The network.
    batches : PairBatches
        The training pairs.
    anchor_vectors : numpy.ndarray
        float32, shape (n_anchors, dim): vectors of the anchor texts before training.
    measure : callable
        Returns the quality of the network on the validation pairs, the higher the better.
    settings : FinetuneSettings
        Hyperparameters.
    checkpoint : Checkpoint
        Where the run resumes from.
    on_epoch : callable, optional
        Called after every epoch; what it raises ends the training.
    show : bool, default False
        Whether to show a progress bar.
    """
    import torch

    def loss(batch: PairBatch) -> torch.Tensor:
        vectors = network.vectors(batch.rows.tolist())  # (n, dim), unit rows
        device = vectors.device
        positives = torch.from_numpy(batch.positives).to(device)
        scale = torch.tensor(1 / settings.temperature, device=device)
        first, second = vectors[batch.first], vectors[batch.second]
        total = symmetric_contrastive(first, second, positives, scale)
        if len(batch.anchor_positions) > 1:
            before = torch.from_numpy(anchor_vectors[batch.anchors]).to(device)
            after = vectors[batch.anchor_positions]
            drift = cosine_loss(after, before)
            drift = drift + similarity_loss(after, before, settings.temperature)
            total = total + settings.anchor_weight * drift
        return total

    optimizer = torch.optim.AdamW(list(network.trained.values()), lr=settings.first_learning_rate)
    loop = TrainingLoop(
        loss,
        batches.of_epoch,
        optimizer,
        settings.epochs,
        schedule=linear_decay(optimizer, settings.epochs * batches.steps_per_epoch),
        model=network,
        validation=Validation(lambda: {"ndcg@10": measure()}, patience=settings.patience),
        checkpoint=checkpoint,
    )
    return loop.run(
        "fine-tuning", steps_per_epoch=batches.steps_per_epoch, on_epoch=on_epoch, show=show
    )
