"""Training of a student on the teacher's vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from isthmus.encoders.training.distillation.settings import DistillSettings
from isthmus.encoders.training.distillation.students import Student
from isthmus.encoders.training.losses import cosine_loss, similarity_loss
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import OnEpoch, TrainingLoop, linear_decay

if TYPE_CHECKING:
    import torch


def train_student(
    student: Student,
    targets: FloatArray,
    rows: Rows,
    settings: DistillSettings,
    checkpoint: Checkpoint,
    *,
    on_epoch: OnEpoch | None = None,
    show: bool = False,
) -> list[float]:
    """Train a student in place.

    An interrupted run resumes from its checkpoint and ends with the same student.

    Parameters
    ----------
    student : Student
        The student.
    targets : numpy.ndarray
        float32, shape (n_contents, dim): the teacher's vectors, of unit norm.
    rows : numpy.ndarray
        int64: the rows of `targets` to train on.
    settings : DistillSettings
        Hyperparameters.
    checkpoint : Checkpoint
        Where the run resumes from.
    on_epoch : callable, optional
        Called after every epoch; what it raises ends the training.
    show : bool, default False
        Whether to show a progress bar.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    size = min(settings.batch_size or student.batch, len(rows))
    steps = len(rows) // size  # an epoch leaves out the rows of an incomplete batch

    def batches(epoch: int) -> Iterator[Rows]:
        order = np.random.default_rng([settings.seed, epoch - 1]).permutation(rows)
        return (order[step * size : (step + 1) * size] for step in range(steps))

    def loss(batch: Rows) -> torch.Tensor:
        import torch

        teacher = torch.from_numpy(targets[batch])  # (n, teacher dim)
        vectors, mapped = student.vectors(batch.tolist())  # (n, student dim), (n, teacher dim)
        total = cosine_loss(mapped, teacher)
        if settings.similarity_weight:
            similarity = similarity_loss(vectors, teacher, settings.temperature)
            total = total + settings.similarity_weight * similarity
        return total

    optimizer = student.optimizer(settings.learning_rate or student.rate)
    loop = TrainingLoop(
        loss,
        batches,
        optimizer,
        settings.epochs,
        schedule=linear_decay(optimizer, settings.epochs * steps),
        model=student,
        checkpoint=checkpoint,
    )
    history = loop.run("training the student", steps_per_epoch=steps, on_epoch=on_epoch, show=show)
    return history.losses
