"""Training of the ranker: its losses, its batches, and its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
from isthmus.retrieval.ranker.batches import ExampleBatches, Labelled, in_parts
from isthmus.retrieval.ranker.network import HeadNetwork
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings

STANDARDISED_ROWS = 500_000  # rows that mean and deviation of the features are taken of

BatchLoss = Callable[[Labelled, Tensor], Tensor]
"""The loss of a batch, given its scores, shape (members, n_users, n_candidates)."""


def train_head(
    network: HeadNetwork,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    fresh: bool = True,
    folder: Path | None = None,
    on_epoch: OnEpoch | None = None,
    batch_loss: BatchLoss | None = None,
    show: bool = False,
) -> list[EpochResult]:
    """Train a network in place, and leave it with the parameters of its best epoch.

    Parameters
    ----------
    network : HeadNetwork
        The network.
    batches : ExampleBatches
        Examples of one domain: those for training, and those for validation (`tested`).
    settings : TrainingSettings
        Hyperparameters.
    fresh : bool, default True
        Whether features are standardised by these examples; False keeps the statistics of a
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
        NDCG@10 of the validation users by case and the training loss, from the untrained network.
    """
    training = _RankerTraining(network, batches, settings, batch_loss)
    if fresh:
        training.standardise()
    history = training.loop(folder).run("training the ranker", on_epoch=on_epoch, show=show)
    network.eval().to("cpu")
    return history.results


class _RankerTraining:
    """Batches, loss, optimiser and validation of a network."""

    def __init__(
        self,
        network: HeadNetwork,
        batches: ExampleBatches,
        settings: TrainingSettings,
        batch_loss: BatchLoss | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.batch_loss = batch_loss or self._settings_loss
        self.batches, self.settings = batches, settings
        examples = batches.examples
        users = np.repeat(np.arange(len(examples)), np.diff(examples.starts))
        has_positive = np.bincount(users, examples.labels, len(examples)) > 0
        self.training = np.flatnonzero(~examples.tested & has_positive)
        self.validation = np.flatnonzero(examples.tested)
        self.device = settings.device
        self.network = network.to(self.device).train()
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.rate, weight_decay=settings.decay
        )
        warmup = max(1, len(self.training) // settings.batch // 10)
        self.schedule = warmup_inverse_sqrt(optimizer, warmup, 10 * warmup)
        self.optimizer: Any = optimizer
        self.model: Any = network
        self.accelerator: Any = None
        if settings.distributed:
            self._distribute()

    def loop(self, folder: Path | None) -> TrainingLoop[Columns]:
        """Return the training loop, with its checkpoint in a folder."""
        settings = self.settings
        steps = max(1, -(-len(self.training) // settings.batch))
        patience = max(settings.patience, -(-settings.patient_steps // steps))
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
        sample = features[::step, : self.network.shape.features].astype(np.float32)
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
        fixed = replace(self.settings, epochs=0, patience=0, patient_steps=0, device="")
        return repr((self.network.shape, fixed))

    def _epoch_batches(self, epoch: int) -> Iterator[Columns]:
        """Return the users of each batch, those of this process where there are several."""
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.training)
        if self.accelerator is not None:
            order = order[self.accelerator.process_index :: self.accelerator.num_processes]
        return in_parts(order, self.settings.batch)

    def _loss(self, users: Columns) -> Tensor:
        batch, labels, corrections = self.batches.make(users)
        labelled = Labelled(
            batch.to(self.device), labels.to(self.device), corrections.to(self.device)
        )
        return self.batch_loss(labelled, self.model(labelled.batch).float())

    def _settings_loss(self, labelled: Labelled, scores: Tensor) -> Tensor:
        """Return the loss of the settings, summed over the members."""
        batch, labels, corrections = labelled
        losses = [
            loss_of(self.settings.loss, member, labels, batch.mask, corrections).mean()
            for member in scores
        ]
        return torch.stack(losses).sum()

    def _validate(self) -> dict[str, float]:
        """Return the mean NDCG@10 of the validation users for each case."""
        users = self.validation
        scores = self.batches.scores(self.network, users, self.settings.batch, self.device)
        ndcg, case = self.batches.ndcg(users, scores), self.batches.examples.case[users]
        self.network.train()
        return {name: float(ndcg[case == name].mean()) for name in dict.fromkeys(case.tolist())}


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
