"""Training of a ranker: listwise and pairwise losses, early stopping, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.numerics.arrays import Columns
from isthmus.progress import progress_bar
from isthmus.retrieval.ranker.batches import ExampleBatches, LabelledBatch, chunks
from isthmus.retrieval.ranker.network import RankerNetwork
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings

CHECKPOINT = "checkpoint.pt"
MAX_STATISTICS_ROWS = 500_000
MIN_DEVIATION = 1e-3


@dataclass(frozen=True)
class EpochResult:
    """The result of one epoch.

    Attributes
    ----------
    loss : float
        Mean training loss; NaN before the first epoch.
    ndcg : dict of str to float
        NDCG@10 of the validation users by scenario.
    """

    loss: float
    ndcg: dict[str, float]

    @property
    def score(self) -> float:
        """The validation score: the mean over the scenarios."""
        return float(np.mean(list(self.ndcg.values()))) if self.ndcg else 0.0


EpochCallback = Callable[[int, EpochResult], None]
LossFunction = Callable[[LabelledBatch, Tensor], Tensor]
"""Returns the loss of scores, shape (members, n_users, n_candidates), given their batch."""


def train_ranker(
    network: RankerNetwork,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    standardise: bool = True,
    folder: Path | None = None,
    on_epoch: EpochCallback | None = None,
    loss_function: LossFunction | None = None,
    show: bool = False,
) -> list[EpochResult]:
    """Train the network of a ranker, and leave it with the weights of its best epoch.

    Parameters
    ----------
    network : RankerNetwork
        The network; it is trained in place.
    batches : ExampleBatches
        The examples, of one domain.
    settings : TrainingSettings
        How to train.
    standardise : bool, default True
        Whether to standardise the features by these examples; False keeps the means and
        deviations of a pretrained network.
    folder : Path, optional
        Where a checkpoint of every epoch is written; an interrupted training resumes from it.
    on_epoch : callable, optional
        Called with the number and the result of each epoch; the untrained network is number 0. An
        exception that it raises ends the training.
    loss_function : callable, optional
        The loss, in place of that of the settings.
    show : bool
        Whether to show a progress bar.

    Returns
    -------
    list of EpochResult
        The learning curve, starting with the untrained network.
    """
    trainer = _Trainer(network, batches, settings, loss_function)
    if standardise:
        trainer.standardise()
    curve, waited = trainer.resume(folder)
    best = max(range(len(curve)), key=lambda i: curve[i].score, default=0)
    with progress_bar("training the ranker", settings.epochs, show=show) as advance:
        advance(max(0, len(curve) - 1))
        if not curve:
            curve.append(EpochResult(float("nan"), trainer.validate()))
            trainer.remember()
            if on_epoch is not None:
                on_epoch(0, curve[0])
        while len(curve) <= settings.epochs and waited < trainer.patience:
            curve.append(EpochResult(trainer.train_epoch(len(curve)), trainer.validate()))
            waited += 1
            if curve[-1].score > curve[best].score:
                best, waited = len(curve) - 1, 0
                trainer.remember()
            trainer.checkpoint(folder, curve, waited)
            if on_epoch is not None:
                on_epoch(len(curve) - 1, curve[-1])
            advance(1)
    trainer.restore_best()
    return curve


class _Trainer:
    def __init__(
        self,
        network: RankerNetwork,
        batches: ExampleBatches,
        settings: TrainingSettings,
        loss_function: LossFunction | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.loss_function = loss_function or self._label_loss
        self.batches, self.examples, self.settings = batches, batches.examples, settings
        examples = self.examples
        owners = np.repeat(np.arange(len(examples)), np.diff(examples.starts))
        has_positive = np.bincount(owners, examples.labels, len(examples)) > 0
        self.training = np.flatnonzero(~examples.validation & has_positive)
        steps = max(1, -(-len(self.training) // settings.batch_size))
        self.patience = max(settings.patience, -(-settings.patience_steps // steps))
        self.device = settings.device
        self.network = network.to(self.device)
        self.optimizer: Any = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = 0
        self.accelerator: Any = None
        self.model: Any = network
        if settings.distributed:
            self._distribute()
        self.best = deepcopy(network.state_dict())

    def _distribute(self) -> None:
        from accelerate import Accelerator

        bf16 = "bf16" if self.settings.precision == "bf16" else "no"
        self.accelerator = Accelerator(mixed_precision=bf16)
        self.device = str(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(self.network, self.optimizer)

    def standardise(self) -> None:
        """Set mean and deviation of every feature from the examples.

        A feature that is constant here keeps its unit, since it may vary elsewhere.
        """
        step = max(1, len(self.examples.features) // MAX_STATISTICS_ROWS)
        features = self.examples.features[::step].astype(np.float32)
        varied = features.min(axis=0) < features.max(axis=0)
        deviation = np.maximum(features.std(axis=0), MIN_DEVIATION)
        self.network.mean[:] = torch.from_numpy(features.mean(axis=0))
        self.network.deviation[:] = torch.from_numpy(np.where(varied, deviation, np.float32(1)))
        self.best = deepcopy(self.network.state_dict())

    def train_epoch(self, number: int) -> float:
        """Train on every example once, and return the mean loss."""
        rng = np.random.default_rng([self.settings.seed, number])
        order = rng.permutation(self.training)
        if self.accelerator is not None:
            order = order[self.accelerator.process_index :: self.accelerator.num_processes]
        self.network.train()
        losses = []
        for rows in chunks(order, self.settings.batch_size):
            with torch.autocast(
                self.device.split(":")[0], torch.bfloat16, self.settings.precision == "bf16"
            ):
                loss = self._loss(rows)
            self.optimizer.zero_grad()
            if self.accelerator is None:
                loss.backward()  # type: ignore[no-untyped-call]
            else:
                self.accelerator.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._set_learning_rate()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses)) if losses else float("nan")

    def _set_learning_rate(self) -> None:
        self.step += 1
        warm = max(1, len(self.training) // self.settings.batch_size // 10)
        share = min(self.step / warm, (10 * warm / max(self.step, 10 * warm)) ** 0.5)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * share

    def _loss(self, rows: Columns) -> Tensor:
        made = self.batches.make(rows)
        made = LabelledBatch(
            made.batch.to(self.device),
            made.labels.to(self.device),
            made.log_probabilities.to(self.device),
        )
        return self.loss_function(made, self.model(made.batch).float())

    def _label_loss(self, made: LabelledBatch, scores: Tensor) -> Tensor:
        """Return the loss of the settings, summed over the members."""
        losses = [
            loss_of(
                self.settings.loss, member, made.labels, made.batch.mask, made.log_probabilities
            ).mean()
            for member in scores
        ]
        return torch.stack(losses).sum()

    def validate(self) -> dict[str, float]:
        """Return NDCG@10 of the validation users by scenario."""
        rows = self.batches.validation
        scores = self.batches.scores(self.network, rows, self.settings.batch_size, self.device)
        ndcg, scenarios = self.batches.ndcg(rows, scores), self.examples.scenarios[rows]
        names = dict.fromkeys(scenarios.tolist())
        return {name: float(ndcg[scenarios == name].mean()) for name in names}

    def remember(self) -> None:
        """Keep the current weights as the best so far."""
        self.best = deepcopy(self.network.state_dict())

    def restore_best(self) -> None:
        """Give the network its best weights."""
        self.network.load_state_dict(self.best)
        self.network.eval().to("cpu")

    def checkpoint(self, folder: Path | None, curve: Sequence[EpochResult], waited: int) -> None:
        """Write a checkpoint."""
        if folder is None or not (self.accelerator is None or self.accelerator.is_main_process):
            return
        folder.mkdir(parents=True, exist_ok=True)
        progress = {"curve": [vars(epoch) for epoch in curve], "waited": waited, "step": self.step}
        state = {
            "progress": json.dumps(progress),
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, folder / f".{CHECKPOINT}")
        (folder / f".{CHECKPOINT}").replace(folder / CHECKPOINT)

    def resume(self, folder: Path | None) -> tuple[list[EpochResult], int]:
        """Load a checkpoint if there is one; return its curve and the epochs without a gain."""
        if folder is None or not (folder / CHECKPOINT).exists():
            return [], 0
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        progress = json.loads(state["progress"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.best, self.step = state["best"], progress["step"]
        return [EpochResult(**epoch) for epoch in progress["curve"]], progress["waited"]


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
