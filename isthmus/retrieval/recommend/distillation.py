"""Distillation of a ranker: an ensemble of networks into a single small one.

The student learns the softmax of the teacher over the candidates of simulated users, by the
Kullback-Leibler divergence (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
Network", 2015, over lists as in "Ranking Distillation", Tang and Wang, KDD 2018), and what these
users liked. The student is a ranker like any other, independent of its teacher.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import estimate
from isthmus.numerics.training import OnEpoch
from isthmus.retrieval.ranker.batches import ExampleBatches, LabelledBatch
from isthmus.retrieval.ranker.network import RankerNetwork
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings
from isthmus.retrieval.ranker.training import BatchLoss, loss_of, train_ranker
from isthmus.retrieval.recommend.report import RankerDistillation, RankerFigures

TEMPERATURE: Final = 2.0
LABEL_WEIGHT: Final = 0.3
EPOCH_FACTOR: Final = 2  # a student does not overfit the scores of a teacher
LEARNING_RATE_FACTOR: Final = 2.0
BATCH_SIZE: Final = 64
RECALL_DEPTH: Final = 200
TIMED_USERS: Final = 50
WARM_UP_USERS: Final = 3


def distil_ranker(
    teacher: Ranker,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    folder: Path | None = None,
    on_epoch: OnEpoch | None = None,
    show: bool = False,
) -> tuple[Ranker, RankerDistillation]:
    """Distil a ranker into one with a single network of `settings.distilled_units` hidden units.

    Parameters
    ----------
    teacher : Ranker
        The trained ranker; it is not changed.
    batches : ExampleBatches
        The examples that the teacher was trained on. The validation examples stop the student,
        too, and both are measured on them.
    settings : TrainingSettings
        How the teacher was trained.
    folder, on_epoch, show
        As for `isthmus.retrieval.ranker.training.train_ranker`.

    Returns
    -------
    ranker, report
        The student, and its quality and cost beside those of the teacher.
    """
    units, shape = settings.distilled_units, teacher.network.shape
    student_shape = replace(
        shape,
        members=1,
        hidden=units,
        rank=min(shape.rank, max(2, units // 4)),
        attention=min(shape.attention, max(2, units)),
    )
    torch.manual_seed(settings.seed)
    network = RankerNetwork(teacher.columns, student_shape, dropout=0.0)
    student = Ranker(network, teacher.generators)
    teacher.network.to(settings.device).eval()
    train_ranker(
        student.network,
        batches,
        replace(
            settings,
            epochs=EPOCH_FACTOR * settings.epochs,
            learning_rate=LEARNING_RATE_FACTOR * settings.learning_rate,
        ),
        folder=folder,
        on_epoch=on_epoch,
        batch_loss=distillation_loss(teacher.network, settings.loss),
        show=show,
    )
    teacher.network.to("cpu")
    return student, compare_rankers(teacher, student, batches)


def distillation_loss(teacher: RankerNetwork, loss: Loss) -> BatchLoss:
    """Return the loss of a student: `divergence` from the teacher, and the loss of the labels."""

    def batch_loss(made: LabelledBatch, scores: Tensor) -> Tensor:
        batch, labels, log_probabilities = made
        with torch.no_grad():
            teacher_scores = teacher(batch).float().mean(dim=0)
        total = scores.new_zeros(())
        for member in scores:
            apart = divergence(teacher_scores, member, batch.mask, log_probabilities)
            of_labels = loss_of(loss, member, labels, batch.mask, log_probabilities)
            total = total + (apart + LABEL_WEIGHT * of_labels).mean()
        return total

    return batch_loss


def divergence(
    teacher_scores: Tensor, scores: Tensor, mask: Tensor, log_probabilities: Tensor
) -> Tensor:
    """Return the Kullback-Leibler divergence between the softmaxes of two scores, by user.

    Parameters
    ----------
    teacher_scores, scores : Tensor
        Shape (n_users, n_candidates).
    mask : Tensor
        bool, the same shape: which are candidates, not padding.
    log_probabilities : Tensor
        Logarithm of the sampling probability of each candidate, the same shape: a candidate that
        was sampled with probability q stands for 1 / q candidates.

    Returns
    -------
    Tensor
        Shape (n_users,); multiplied by the square of the temperature, so that the size of the
        gradient does not depend on it.
    """

    def log_softmax(values: Tensor) -> Tensor:
        corrected = (values / TEMPERATURE - log_probabilities).masked_fill(~mask, -torch.inf)
        return torch.log_softmax(corrected, dim=1).masked_fill(~mask, 0)

    teacher_logs, logs = log_softmax(teacher_scores), log_softmax(scores)
    weights = torch.exp(teacher_logs) * mask
    return TEMPERATURE**2 * (weights * (teacher_logs - logs)).sum(dim=1)


def compare_rankers(
    teacher: Ranker, student: Ranker, batches: ExampleBatches
) -> RankerDistillation:
    """Measure two rankers on the validation examples."""
    rows = batches.validation
    ndcg = [
        batches.ndcg(rows, batches.scores(ranker.network, rows, BATCH_SIZE))
        for ranker in (teacher, student)
    ]
    figures = [
        RankerFigures(
            ndcg=float(values.mean()),
            recall=float(_recall(ranker, batches, rows).mean()),
            parameters=sum(p.numel() for p in ranker.network.parameters()),
            milliseconds=_milliseconds(ranker, batches, rows),
        )
        for ranker, values in zip((teacher, student), ndcg, strict=True)
    ]
    gain = estimate(ndcg[1] - ndcg[0])
    return RankerDistillation(
        teacher=figures[0], student=figures[1], low=gain.low, high=gain.high, users=len(rows)
    )


def _recall(ranker: Ranker, batches: ExampleBatches, rows: Columns) -> PerUser:
    """Return recall@200 of examples, shape (n_rows,)."""
    examples, recall = batches.examples, np.zeros(len(rows))
    scored = batches.scores(ranker.network, rows, BATCH_SIZE)
    for at, (row, scores) in enumerate(zip(rows, scored, strict=True)):
        labels = examples.labels[examples.candidates_of(row)]
        top = np.argsort(-scores, kind="stable")[:RECALL_DEPTH]
        recall[at] = labels[top].sum() / max(1, examples.n_relevant[row])
    return recall


def _milliseconds(ranker: Ranker, batches: ExampleBatches, rows: Columns) -> float:
    """Return the median time of the network for users one at a time, as in use."""
    timed = [batches.make(rows[[at]]).batch for at in range(min(TIMED_USERS, len(rows)))]
    durations = []
    with torch.inference_mode():
        for batch in [*timed[:WARM_UP_USERS], *timed]:
            start = time.perf_counter()
            ranker.network.score(batch)
            durations.append(time.perf_counter() - start)
    return 1e3 * median(durations[WARM_UP_USERS:] or durations or [0.0])
