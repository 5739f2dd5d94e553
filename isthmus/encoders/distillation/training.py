"""The training of a student: batches in an order that the seed gives, checkpoints, resuming."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.distillation.contents import Rows
from isthmus.encoders.distillation.losses import cosine_loss, similarity_loss
from isthmus.encoders.distillation.settings import DistillSettings
from isthmus.encoders.distillation.student import Student
from isthmus.encoders.encoder import FloatArray
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    import torch

Watch = Callable[[int, float], None]

CHECKPOINT: Final = "checkpoint.pt"
CHECKPOINT_SECONDS: Final = 30.0


def train_student(
    student: Student,
    targets: FloatArray,
    rows: Rows,
    settings: DistillSettings,
    folder: Path,
    key: str,
    *,
    watch: Watch | None = None,
    show: bool = False,
) -> list[float]:
    """Train a student, in place.

    A training that was cut off goes on from its last checkpoint, written twice a minute and
    after every pass, and comes to the same student: the order of the contents depends on the
    seed and the number of the pass alone.

    Parameters
    ----------
    student : Student
        What is trained.
    targets : numpy.ndarray
        float32, shape (n_contents, dim): the teacher's vectors.
    rows : numpy.ndarray
        int64: the contents to learn from.
    settings : DistillSettings
        How.
    folder : Path
        Where the checkpoint is.
    key : str
        What is trained, by whom and how; a checkpoint of another key is not used.
    watch : callable, optional
        Is called after each pass, with its number and mean loss; what it raises ends the
        training.
    show : bool
        Whether to show a bar.

    Returns
    -------
    list of float
        Mean loss of each pass.
    """
    trainer = _Trainer(student, targets, rows, settings, folder / CHECKPOINT, key)
    trainer.resume()
    with progress_bar("training the student", trainer.steps, show=show) as advance:
        advance(trainer.step)
        while trainer.step < trainer.steps:
            trainer.take_step()
            advance(1)
            if trainer.step % trainer.per_pass == 0 and watch is not None:
                watch(len(trainer.losses), trainer.losses[-1])
    return trainer.losses


class _Trainer:
    """A student, its optimiser, and how far they are."""

    def __init__(
        self,
        student: Student,
        targets: FloatArray,
        rows: Rows,
        settings: DistillSettings,
        checkpoint: Path,
        key: str,
    ) -> None:
        self._student, self._targets, self._rows = student, targets, rows
        self._settings, self._checkpoint, self._key = settings, checkpoint, key
        self._size = min(settings.batch or student.batch, len(rows))
        self._rate = settings.rate or student.rate
        self._optimizer = student.optimizer(self._rate)
        self.per_pass = len(rows) // self._size  # what is left over waits for another pass
        self.steps = settings.epochs * self.per_pass
        self.step = 0
        self.losses: list[float] = []
        self._sum = 0.0
        self._order, self._ordered_for = rows, -1
        self._saved_at = time.monotonic()

    def take_step(self) -> None:
        """Learn from one batch; at the end of a pass, or from time to time, keep where we are."""
        number, at = divmod(self.step, self.per_pass)
        if at == 0:
            self._sum = 0.0
        self._shuffle(number)
        batch = self._order[at * self._size : (at + 1) * self._size]
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * (1 - self.step / self.steps)
        loss = self._loss(batch)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._sum += loss.item()
        self.step += 1
        if self.step % self.per_pass == 0:
            self.losses.append(self._sum / self.per_pass)
        if self.step % self.per_pass == 0 or self._is_late():
            self._save()

    def resume(self) -> None:
        """Take up a checkpoint, if there is one of this training."""
        import torch

        if not self._checkpoint.exists():
            return
        found: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        if found["key"] == self._key:
            self._student.restore(found["student"])
            self._optimizer.load_state_dict(found["optimizer"])
            self.step, self._sum, self.losses = found["step"], found["sum"], found["losses"]

    def _loss(self, batch: Rows) -> torch.Tensor:
        import torch

        teacher = torch.from_numpy(self._targets[batch])
        own, moved = self._student.vectors(batch.tolist())
        loss = cosine_loss(moved, teacher)
        if self._settings.similarity:
            similar = similarity_loss(own, teacher, self._settings.temperature)
            loss = loss + self._settings.similarity * similar
        return loss

    def _shuffle(self, number: int) -> None:
        """Give the order of a pass, the same whether it was begun now or before."""
        if number != self._ordered_for:
            random = np.random.default_rng([self._settings.seed, number])
            self._order, self._ordered_for = random.permutation(self._rows), number

    def _is_late(self) -> bool:
        return time.monotonic() - self._saved_at > CHECKPOINT_SECONDS

    def _save(self) -> None:
        import torch

        partial = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "key": self._key,
                "student": self._student.state(),
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "sum": self._sum,
                "losses": self.losses,
            },
            partial,
        )
        partial.replace(self._checkpoint)
        self._saved_at = time.monotonic()
