"""The training of a fine-tuning: losses, when to stop, and the best pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.encoders.training.alignment.loss import symmetric_contrastive
from isthmus.encoders.training.distillation.losses import cosine_loss, similarity_loss
from isthmus.encoders.training.finetuning.batches import Lessons
from isthmus.encoders.training.finetuning.network import Changes, TunedNetwork
from isthmus.encoders.training.finetuning.settings import FinetuneSettings
from isthmus.encoders.training.resumable import ResumableTraining, Watch
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

Quality = Callable[[TunedNetwork], float]


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
    checkpoint = Checkpoint(folder, key)
    training = Training(network, lessons, anchors, quality, settings, checkpoint)
    training.run("fine-tuning", watch, show=show)
    training.take_best()
    return training


class Training(ResumableTraining):
    """The training of a network, and the best so far.

    Attributes
    ----------
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
        checkpoint: Checkpoint,
    ) -> None:
        import torch

        self._network, self._lessons, self._anchors = network, lessons, anchors
        self._quality, self._settings = quality, settings
        self._best: dict[str, torch.Tensor] = {}
        self.qualities: list[float] = []
        rate = settings.first_rate
        optimizer = torch.optim.AdamW(list(network.trained.values()), lr=rate)
        super().__init__(optimizer, rate, lessons.per_pass, settings.epochs, checkpoint)

    @property
    def best_pass(self) -> int:
        """The pass after which the network was best; 0 is before the first."""
        return max(range(len(self.qualities)), key=lambda number: self.qualities[number])

    @property
    def is_over(self) -> bool:
        """Whether all passes are done, or the last ones gained nothing."""
        waited = len(self.losses) - self.best_pass
        return super().is_over or waited >= self._settings.patience

    def take_best(self) -> None:
        """Bring the network back to what it was after its best pass."""
        self._network.restore(self._best)

    def changes(self) -> Changes:
        """Give how far the weights of the encoder moved."""
        return self._network.changes()

    def _loss(self, step: int) -> torch.Tensor:
        import torch

        lesson, settings = self._lessons.lesson(step), self._settings
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

    def _state(self) -> dict[str, Any]:
        return {
            "network": self._network.state(),
            "best": self._best,
            "qualities": self.qualities,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._network.restore(state["network"])
        self._best, self.qualities = state["best"], state["qualities"]


def _moved(now: torch.Tensor, before: torch.Tensor, settings: FinetuneSettings) -> torch.Tensor:
    """Give how far texts moved, and how far what they are similar to did."""
    return cosine_loss(now, before) + similarity_loss(now, before, settings.temperature)
