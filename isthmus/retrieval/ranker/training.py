"""Training of the ranking head."""

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
from isthmus.retrieval.ranker.batches import ExampleBatches, Labelled, in_parts
from isthmus.retrieval.ranker.network import HeadNetwork
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Pass:
    """What a pass over the examples came to.

    Attributes
    ----------
    loss : float
        Mean training loss; NaN before the first pass.
    ndcg : dict of str to float
        NDCG@10 of the tested users for each case.
    """

    loss: float
    ndcg: dict[str, float]

    @property
    def score(self) -> float:
        """The mean over the cases."""
        return float(np.mean(list(self.ndcg.values()))) if self.ndcg else 0.0


Watch = Callable[[int, Pass], None]
Lesson = Callable[[Labelled, Tensor], Tensor]
"""The loss of scores, shape (members, n_users, n_candidates), given their batch."""


def train_head(
    network: HeadNetwork,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    fresh: bool = True,
    folder: Path | None = None,
    watch: Watch | None = None,
    lesson: Lesson | None = None,
    show: bool = False,
) -> list[Pass]:
    """Train a head on examples, and leave it at its best.

    Parameters
    ----------
    network : HeadNetwork
        What is trained, in place.
    batches : ExampleBatches
        The examples, of one domain.
    settings : TrainingSettings
        How.
    fresh : bool, default True
        Whether features are standardised by these examples; False keeps those of a head that
        was pretrained.
    folder : Path, optional
        Where to keep a checkpoint of every pass; a training that was cut off goes on from there.
    watch : callable, optional
        Is called with the number of each pass and what it came to, the untrained head being
        number 0; what it raises ends the training.
    lesson : callable, optional
        What is made small, in the place of the settings' loss.
    show : bool
        Whether to show a bar.

    Returns
    -------
    list of Pass
        The curve, beginning with the untrained head.
    """
    trainer = _Trainer(network, batches, settings, lesson)
    if fresh:
        trainer.standardise()
    curve, waited = trainer.resume(folder)
    best = max(range(len(curve)), key=lambda i: curve[i].score, default=0)
    with progress_bar("training the head", settings.epochs, show=show) as advance:
        advance(max(0, len(curve) - 1))
        if not curve:
            curve.append(Pass(float("nan"), trainer.test()))
            trainer.remember()
            if watch is not None:
                watch(0, curve[0])
        while len(curve) <= settings.epochs and waited < trainer.patience:
            curve.append(Pass(trainer.pass_over(len(curve)), trainer.test()))
            waited += 1
            if curve[-1].score > curve[best].score:
                best, waited = len(curve) - 1, 0
                trainer.remember()
            trainer.keep(folder, curve, waited)
            if watch is not None:
                watch(len(curve) - 1, curve[-1])
            advance(1)
    trainer.recall()
    return curve


class _Trainer:
    def __init__(
        self,
        network: HeadNetwork,
        batches: ExampleBatches,
        settings: TrainingSettings,
        lesson: Lesson | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.lesson = lesson or self._by_labels
        self.batches, self.examples, self.settings = batches, batches.examples, settings
        examples = self.examples
        owners = np.repeat(np.arange(len(examples)), np.diff(examples.starts))
        found = np.bincount(owners, examples.labels, len(examples)) > 0
        self.learned = np.flatnonzero(~examples.tested & found)
        self.exam = np.flatnonzero(examples.tested)
        steps = max(1, -(-len(self.learned) // settings.batch))
        self.patience = max(settings.patience, -(-settings.patient_steps // steps))
        self.device = settings.device
        self.network = network.to(self.device)
        self.optimizer: Any = torch.optim.AdamW(
            network.parameters(), lr=settings.rate, weight_decay=settings.decay
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
        """Take mean and deviation of every feature from the examples.

        One that is the same everywhere keeps its unit, since it may not be elsewhere.
        """
        step = max(1, len(self.examples.features) // 500_000)
        seen = self.examples.features[::step, : self.network.shape.features]
        some = seen.astype(np.float32)
        varied = some.min(axis=0) < some.max(axis=0)
        deviation = np.where(varied, np.maximum(some.std(axis=0), 1e-3), np.float32(1))
        self.network.mean[:] = torch.from_numpy(some.mean(axis=0))
        self.network.deviation[:] = torch.from_numpy(deviation)
        self.best = deepcopy(self.network.state_dict())

    def pass_over(self, number: int) -> float:
        """Train on every user once, and give the mean loss."""
        rng = np.random.default_rng([self.settings.seed, number])
        order = rng.permutation(self.learned)
        if self.accelerator is not None:
            order = order[self.accelerator.process_index :: self.accelerator.num_processes]
        self.network.train()
        losses = []
        for users in in_parts(order, self.settings.batch):
            with torch.autocast(
                self.device.split(":")[0], torch.bfloat16, self.settings.precision == "bf16"
            ):
                loss = self._loss(users)
            self.optimizer.zero_grad()
            if self.accelerator is None:
                loss.backward()  # type: ignore[no-untyped-call]
            else:
                self.accelerator.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._set_rate()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses)) if losses else float("nan")

    def _set_rate(self) -> None:
        self.step += 1
        warm = max(1, len(self.learned) // self.settings.batch // 10)
        share = min(self.step / warm, (10 * warm / max(self.step, 10 * warm)) ** 0.5)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate * share

    def _loss(self, users: Columns) -> Tensor:
        made = self.batches.make(users)
        made = Labelled(
            made.batch.to(self.device),
            made.labels.to(self.device),
            made.corrections.to(self.device),
        )
        return self.lesson(made, self.model(made.batch).float())

    def _by_labels(self, made: Labelled, scores: Tensor) -> Tensor:
        """Give the loss of the settings, the sum over the members."""
        own = [
            loss_of(
                self.settings.loss, member, made.labels, made.batch.mask, made.corrections
            ).mean()
            for member in scores
        ]
        return torch.stack(own).sum()

    def test(self) -> dict[str, float]:
        """Give NDCG@10 of the tested users in each case."""
        scores = self.batches.scores(self.network, self.exam, self.settings.batch, self.device)
        found, case = self.batches.ndcg(self.exam, scores), self.examples.case[self.exam]
        return {name: float(found[case == name].mean()) for name in dict.fromkeys(case.tolist())}

    def remember(self) -> None:
        """Take the network as the best so far."""
        self.best = deepcopy(self.network.state_dict())

    def recall(self) -> None:
        """Give the network its best weights."""
        self.network.load_state_dict(self.best)
        self.network.eval().to("cpu")

    def keep(self, folder: Path | None, curve: Sequence[Pass], waited: int) -> None:
        """Write a checkpoint."""
        if folder is None or not (self.accelerator is None or self.accelerator.is_main_process):
            return
        folder.mkdir(parents=True, exist_ok=True)
        told = json.dumps({"curve": [vars(p) for p in curve], "waited": waited, "step": self.step})
        state = {
            "told": told,
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, folder / f".{CHECKPOINT}")
        (folder / f".{CHECKPOINT}").replace(folder / CHECKPOINT)

    def resume(self, folder: Path | None) -> tuple[list[Pass], int]:
        """Take up a checkpoint, if there is one."""
        if folder is None or not (folder / CHECKPOINT).exists():
            return [], 0
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        told = json.loads(state["told"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.best, self.step = state["best"], told["step"]
        return [Pass(**own) for own in told["curve"]], told["waited"]


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
