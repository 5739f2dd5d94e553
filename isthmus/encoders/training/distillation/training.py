"""The training of a student: batches in an order that the seed gives, and their losses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.encoders.training.distillation.inputs import Rows
from isthmus.encoders.training.distillation.losses import cosine_loss, similarity_loss
from isthmus.encoders.training.distillation.settings import DistillSettings
from isthmus.encoders.training.distillation.student import Student
from isthmus.encoders.training.resumable import ResumableTraining, Watch
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch


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
    training = _Training(student, targets, rows, settings, Checkpoint(folder, key))
    training.run("training the student", watch, show=show)
    return training.losses


class _Training(ResumableTraining):
    """The training of a student."""

    def __init__(
        self,
        student: Student,
        targets: FloatArray,
        rows: Rows,
        settings: DistillSettings,
        checkpoint: Checkpoint,
    ) -> None:
        self._student, self._targets, self._rows = student, targets, rows
        self._settings = settings
        self._size = min(settings.batch or student.batch, len(rows))
        self._order, self._ordered_for = rows, -1
        rate = settings.rate or student.rate
        per_pass = len(rows) // self._size  # what is left over waits for another pass
        super().__init__(student.optimizer(rate), rate, per_pass, settings.epochs, checkpoint)

    def _loss(self, step: int) -> torch.Tensor:
        import torch

        batch = self._batch(step)
        teacher = torch.from_numpy(self._targets[batch])
        own, moved = self._student.vectors(batch.tolist())
        loss = cosine_loss(moved, teacher)
        if self._settings.similarity:
            similar = similarity_loss(own, teacher, self._settings.temperature)
            loss = loss + self._settings.similarity * similar
        return loss

    def _batch(self, step: int) -> Rows:
        """Give the contents of a step, the same whether the pass was begun now or before."""
        number, at = divmod(step, self._per_pass)
        if number != self._ordered_for:
            random = np.random.default_rng([self._settings.seed, number])
            self._order, self._ordered_for = random.permutation(self._rows), number
        return self._order[at * self._size : (at + 1) * self._size]

    def _judge(self) -> None:
        """Judge nothing: a student is measured when it is done, beside its teacher."""

    def _state(self) -> dict[str, Any]:
        return {"student": self._student.state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self._student.restore(state["student"])
