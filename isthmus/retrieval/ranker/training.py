"""Training of the ranker: its losses, its batches, and its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import Columns
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import (
    Clipping,
    EpochResult,
    OnEpoch,
    TrainingLoop,
    Validation,
    warmup_inverse_sqrt,
)
from isthmus.retrieval.ranker.batches import ExampleBatches, LabelledBatch, chunks  # noqa: TID253
from isthmus.retrieval.ranker.network import RankerNetwork  # noqa: TID253
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings

STANDARDISED_ROWS = 500_000  # rows that mean and deviation of the features are taken of

BatchLoss = Callable[[LabelledBatch, Tensor], Tensor]
"""The loss of a batch, given its scores, shape (members, n_users, n_candidates)."""


def train_ranker(
    network: RankerNetwork,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    standardise: bool = True,
    folder: Path | None = None,
    on_epoch: OnEpoch | None = None,
    batch_loss: BatchLoss | None = None,
    show: bool = False,
) -> list[EpochResult]:
    """Train a network in place, and leave it with the parameters of its best epoch.

    Parameters
    ----------
    network : RankerNetwork
        The network.
    batches : ExampleBatches
        Examples of one domain: those for training, and those for validation .
    settings : TrainingSettings
        Hyperparameters.
    standardise : bool, default True
        Whether to standardise the features by these examples; False keeps the statistics of a
        pretrained network.
    folder : Path, optional
        Folder of the checkpoint that an interrupted run resumes from.
    on_epoch : callable, optional
        Called with the number and the result of every epoch, 0 being the untrained network; what
        it raises ends the training.
    batch_loss : callable, optional
        Replaces the loss of the settings.
    show : bool, default False
        Whether to show a progress bar.

    Returns
    -------
    list of EpochResult
        From the untrained network on: training loss, and NDCG@10 of the validation users by
        scenario.
    """
    training = _RankerTraining(network, batches, settings, batch_loss)
    if standardise:
        training.standardise()
    history = training.loop(folder).run("training the ranker", on_epoch=on_epoch, show=show)
    network.eval().to("cpu")
    return history.results


class _RankerTraining:
    """Batches, loss, optimiser and validation of a network."""

    def __init__(
        self,
        network: RankerNetwork,
        batches: ExampleBatches,
        settings: TrainingSettings,
        batch_loss: BatchLoss | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.batch_loss = batch_loss or self._settings_loss
        self.batches, self.settings = batches, settings
        examples = batches.examples
        if examples.columns != network.features:
            raise InvalidInput(
                "the examples have other features than the network; make them with its columns"
            )
        owners = np.repeat(np.arange(len(examples)), np.diff(examples.starts))
        has_positive = np.bincount(owners, examples.labels, len(examples)) > 0
        self.training = np.flatnonzero(~examples.validation & has_positive)
        self.validation = batches.validation
        self.device = settings.device
        self.network = network.to(self.device).train()
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        warmup = max(1, len(self.training) // settings.batch_size // 10)
        self.schedule = warmup_inverse_sqrt(optimizer, warmup, 10 * warmup)
        self.optimizer: Any = optimizer
        self.model: Any = network
        self.accelerator: Any = None
        if settings.distributed:
            self._distribute()

    def loop(self, folder: Path | None) -> TrainingLoop[Columns]:
        """Return the training loop, with its checkpoint in a folder."""
        settings = self.settings
        steps = max(1, -(-len(self.training) // settings.batch_size))
        patience = max(settings.patience, -(-settings.patience_steps // steps))
        return TrainingLoop(
            self._loss,
            self._epoch_batches,
            self.optimizer,
            settings.epochs,
            schedule=self.schedule,
            clipping=Clipping(list(self.network.parameters())),
            model=self.network,
            validation=Validation(self._validate, patience),
            checkpoint=None if folder is None else Checkpoint(folder, self._key()),
            accelerator=self.accelerator,
            bf16_device=self.device.split(":")[0] if settings.precision == "bf16" else None,
        )

    def standardise(self) -> None:
        """Take mean and deviation of every feature from the examples.

        A feature that is constant keeps its unit, since it may vary elsewhere.
        """
        features = self.batches.examples.features
        step = max(1, len(features) // STANDARDISED_ROWS)
        sample = features[::step].astype(np.float32)
        varies = sample.min(axis=0) < sample.max(axis=0)
        deviation = np.where(varies, np.maximum(sample.std(axis=0), 1e-3), np.float32(1))
        self.network.mean[:] = torch.from_numpy(sample.mean(axis=0))
        self.network.deviation[:] = torch.from_numpy(deviation)

    def _distribute(self) -> None:
        from accelerate import Accelerator

        bf16 = "bf16" if self.settings.precision == "bf16" else "no"
        self.accelerator = Accelerator(mixed_precision=bf16)
        self.device = str(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(self.network, self.optimizer)

    def _key(self) -> str:
        """Identify what is trained; a run may resume with more epochs, or on another device."""
        fixed = replace(self.settings, epochs=1, patience=0, patience_steps=0, device="")
        return repr((self.network.features, self.network.shape, fixed))

    def _epoch_batches(self, epoch: int) -> Iterator[Columns]:
        """Return the examples of each batch; with several processes, those of this one."""
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.training)
        if self.accelerator is not None:
            order = order[self.accelerator.process_index :: self.accelerator.num_processes]
        return chunks(order, self.settings.batch_size)

    def _loss(self, rows: Columns) -> Tensor:
        batch, labels, log_probabilities = self.batches.make(rows)
        labelled = LabelledBatch(
            batch.to(self.device), labels.to(self.device), log_probabilities.to(self.device)
        )
        return self.batch_loss(labelled, self.model(labelled.batch).float())

    def _settings_loss(self, labelled: LabelledBatch, scores: Tensor) -> Tensor:
        """Return the loss of the settings, summed over the members."""
        batch, labels, log_probabilities = labelled
        losses = [
            loss_of(self.settings.loss, member, labels, batch.mask, log_probabilities).mean()
            for member in scores
        ]
        return torch.stack(losses).sum()

    def _validate(self) -> dict[str, float]:
        """Return the mean NDCG@10 of the validation users by scenario."""
        rows = self.validation
        scores = self.batches.scores(self.network, rows, self.settings.batch_size, self.device)
        ndcg, scenarios = self.batches.ndcg(rows, scores), self.batches.examples.scenarios[rows]
        self.network.train()
        names = dict.fromkeys(scenarios.tolist())
        return {name: float(ndcg[scenarios == name].mean()) for name in names}


def listwise_loss(
    scores: Tensor, labels: Tensor, mask: Tensor, log_probabilities: Tensor
) -> Tensor:
    """Return minus the mean log-probability of the positives among all candidates of each user.

    The softmax over a user's candidates (ListNet; Cao et al., ICML 2007), estimated from a sample
    of them: a candidate that was sampled with probability q has ``-log q`` added to its score.

    Parameters
    ----------
    scores : Tensor
        Shape (n_users, n_candidates).
    labels : Tensor
        bool, the same shape: which candidates are positives.
    mask : Tensor
        bool, the same shape: which are candidates, not padding.
    log_probabilities : Tensor
        log q, the same shape; 0 for positives.

    Returns
    -------
    Tensor
        Shape (n_users,); 0 for users without positives.
    """
    corrected = (scores - log_probabilities).masked_fill(~mask, -torch.inf)
    logs = torch.log_softmax(corrected, dim=1).masked_fill(~labels, 0)
    return -logs.sum(dim=1) / labels.sum(dim=1).clamp(min=1)


def pairwise_loss(
    scores: Tensor, labels: Tensor, mask: Tensor, log_probabilities: Tensor
) -> Tensor:
    """Return minus the mean log-probability that a positive ranks above a negative, by user.

    Bayesian personalized ranking (Rendle et al., UAI 2009) over all pairs; a negative that was
    sampled with probability q has the weight 1/q.

    Parameters and result are those of `listwise_loss`.
    """
    owners, places = labels.nonzero(as_tuple=True)
    gaps = scores[owners, places][:, None] - scores[owners]  # (n_positives, n_candidates)
    weights = (torch.exp(-log_probabilities) * (mask & ~labels))[owners]
    losses = -nn.functional.logsigmoid(gaps) * weights
    total = scores.new_zeros(len(scores)).index_add(0, owners, losses.sum(dim=1))
    weight = scores.new_zeros(len(scores)).index_add(0, owners, weights.sum(dim=1))
    return total / weight.clamp(min=1e-9)


def loss_of(
    name: Loss, scores: Tensor, labels: Tensor, mask: Tensor, log_probabilities: Tensor
) -> Tensor:
    """Return a loss by its name."""
    function = listwise_loss if name == "listwise" else pairwise_loss
    return function(scores, labels, mask, log_probabilities)
