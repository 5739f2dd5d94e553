"""The training of a fine-tuning: losses, checkpoints, resuming, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.alignment.loss import symmetric_contrastive
from isthmus.encoders.distillation.losses import cosine_loss, similarity_loss
from isthmus.encoders.encoder import FloatArray
from isthmus.encoders.finetuning.lessons import Lesson, Lessons
from isthmus.encoders.finetuning.network import Changes, TunedNetwork
from isthmus.encoders.finetuning.settings import FinetuneSettings
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch

Watch = Callable[[int, float], None]
Quality = Callable[[TunedNetwork], float]

CHECKPOINT: Final = "checkpoint.pt"
CHECKPOINT_SECONDS: Final = 30.0


def train(
    network: TunedNetwork,
    lessons: Lessons,
    anchors: FloatArray,
    quality: Quality,
    settings: FinetuneSettings,
    folder: Path,
    key: str,
    *,
    watch: Watch | None = None,
    show: bool = False,
) -> Training:
    """Fine-tune a network, in place, and leave it as it was after its best pass.

    A training that was cut off goes on from its last checkpoint, written twice a minute and
    after every pass, and comes to the same network.

    Parameters
    ----------
    network : TunedNetwork
        What is trained.
    lessons : Lessons
        The steps.
    anchors : numpy.ndarray
        float32, shape (n_anchors, dim): vectors, before, of the texts to hold on to.
    quality : callable
        How good the network is, on pairs that are not learned from.
    settings : FinetuneSettings
        How.
    folder : Path
        Where the checkpoint is.
    key : str
        What is trained and how; a checkpoint of another key is not used.
    watch : callable, optional
        Is called after each pass with its number and mean loss; what it raises ends the
        training.
    show : bool
        Whether to show a bar.
    """
    training = Training(network, lessons, anchors, quality, settings, folder / CHECKPOINT, key)
    training.resume()
    with progress_bar("fine-tuning", training.steps, show=show) as advance:
        advance(training.step)
        while not training.is_over:
            training.take_step()
            advance(1)
            if training.step % lessons.per_pass == 0 and watch is not None:
                watch(len(training.losses), training.losses[-1])
    training.take_best()
    return training


class Training:
    """A network, its optimiser, how far they are, and the best so far.

    Attributes
    ----------
    losses : list of float
        Mean loss of each pass.
    qualities : list of float
        Quality before, and after each pass.
    """

    def __init__(
        self,
        network: TunedNetwork,
        lessons: Lessons,
        anchors: FloatArray,
        quality: Quality,
        settings: FinetuneSettings,
        checkpoint: Path,
        key: str,
    ) -> None:
        import torch

        self._network, self._lessons, self._anchors = network, lessons, anchors
        self._quality, self._settings = quality, settings
        self._checkpoint, self._key = checkpoint, key
        parameters = list(network.trained.values())
        self._optimizer = torch.optim.AdamW(parameters, lr=settings.first_rate)
        self.steps = settings.epochs * lessons.per_pass
        self.step = 0
        self.losses: list[float] = []
        self.qualities: list[float] = []
        self._best: dict[str, torch.Tensor] = {}
        self._sum = 0.0
        self._saved_at = time.monotonic()

    @property
    def best_pass(self) -> int:
        """The pass after which the network was best; 0 is before the first."""
        return max(range(len(self.qualities)), key=lambda number: self.qualities[number])

    @property
    def is_over(self) -> bool:
        """Whether all passes are done, or the last ones gained nothing."""
        waited = len(self.losses) - self.best_pass
        return self.step >= self.steps or waited >= self._settings.patience

    def resume(self) -> None:
        """Take up a checkpoint, if there is one of this training."""
        import torch

        found: dict[str, Any] = {"key": None}
        if self._checkpoint.exists():
            found = torch.load(self._checkpoint, weights_only=True)
        if found["key"] != self._key:
            self._judge()
            return
        self._network.restore(found["network"])
        self._optimizer.load_state_dict(found["optimizer"])
        self._best, self.qualities = found["best"], found["qualities"]
        self.step, self._sum, self.losses = found["step"], found["sum"], found["losses"]

    def take_step(self) -> None:
        """Learn from one batch; after a pass, see how good the network is."""
        lesson = self._lessons.lesson(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.first_rate * (1 - self.step / self.steps)
        loss = self._loss(lesson)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._sum += loss.item()
        self.step += 1
        passed = self.step % self._lessons.per_pass == 0
        if passed:
            self.losses.append(self._sum / self._lessons.per_pass)
            self._sum = 0.0
            self._judge()
        if passed or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self._save()

    def take_best(self) -> None:
        """Bring the network back to what it was after its best pass."""
        self._network.restore(self._best)

    def changes(self) -> Changes:
        """Give how far the weights of the encoder moved."""
        return self._network.changes()

    def _loss(self, lesson: Lesson) -> torch.Tensor:
        import torch

        settings = self._settings
        vectors = self._network.vectors(lesson.rows.tolist())
        device = vectors.device
        same = torch.from_numpy(lesson.same).to(device)
        scale = torch.tensor(1 / settings.temperature, device=device)
        first, second = vectors[lesson.first], vectors[lesson.second]
        loss = symmetric_contrastive(first, second, same, scale)
        if len(lesson.held) > 1:
            before = torch.from_numpy(self._anchors[lesson.anchors]).to(device)
            loss = loss + settings.anchor * _moved(vectors[lesson.held], before, settings)
        return loss

    def _judge(self) -> None:
        self.qualities.append(self._quality(self._network))
        if self.best_pass == len(self.qualities) - 1:
            self._best = self._network.state()

    def _save(self) -> None:
        import torch

        partial = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "key": self._key,
                "network": self._network.state(),
                "optimizer": self._optimizer.state_dict(),
                "best": self._best,
                "qualities": self.qualities,
                "step": self.step,
                "sum": self._sum,
                "losses": self.losses,
            },
            partial,
        )
        partial.replace(self._checkpoint)
        self._saved_at = time.monotonic()


def _moved(now: torch.Tensor, before: torch.Tensor, settings: FinetuneSettings) -> torch.Tensor:
    """Give how far texts moved, and how far what they are similar to did."""
    return cosine_loss(now, before) + similarity_loss(now, before, settings.temperature)
