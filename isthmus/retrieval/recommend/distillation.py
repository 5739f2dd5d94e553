"""Distillation of a ranking head: an ensemble of networks into a single small one.

The student learns the teacher's softmax over the candidates of simulated users, by the
Kullback-Leibler divergence (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
Network", 2015, over lists as in "Ranking Distillation", Tang and Wang, KDD 2018), beside what
these users liked. It is a head like any other, and knows nothing of its teacher.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import estimate
from isthmus.numerics.training import OnEpoch
from isthmus.retrieval.ranker.batches import ExampleBatches, Labelled
from isthmus.retrieval.ranker.network import HeadNetwork
from isthmus.retrieval.ranker.ranker import RankingHead
from isthmus.retrieval.ranker.settings import Loss, TrainingSettings
from isthmus.retrieval.ranker.training import BatchLoss, loss_of, train_head
from isthmus.retrieval.recommend.report import HeadDistillation, HeadFigures

TEMPERATURE: Final = 2.0
LABELS: Final = 0.3  # weight of what the users liked
PASSES: Final = 2  # for one of the teacher: its scores do not let a student overfit
RATE: Final = 2.0
AT_ONCE: Final = 64
DEEP: Final = 200
TIMED: Final = 50


def distil_head(
    teacher: RankingHead,
    batches: ExampleBatches,
    settings: TrainingSettings,
    *,
    folder: Path | None = None,
    on_epoch: OnEpoch | None = None,
    show: bool = False,
) -> tuple[RankingHead, HeadDistillation]:
    """Distil a head into one of a single network of `settings.distil` units.

    Parameters
    ----------
    teacher : RankingHead
        What is learned from; it stays as it is.
    batches : ExampleBatches
        The examples that the teacher was trained on; those tested stop the student, too, and both
        are measured on them.
    settings : TrainingSettings
        How.
    folder, on_epoch, show
        As for `isthmus.retrieval.ranker.training.train_head`.

    Returns
    -------
    head, report
        The student, and what it is worth beside its teacher.
    """
    units = settings.distil
    shape = replace(
        teacher.network.shape,
        members=1,
        hidden=units,
        rank=min(teacher.network.shape.rank, max(2, units // 4)),
        attention=min(teacher.network.shape.attention, max(2, units)),
    )
    torch.manual_seed(settings.seed)
    student = RankingHead(HeadNetwork(shape, dropout=0.0), teacher.sources)
    teacher.network.to(settings.device).eval()
    train_head(
        student.network,
        batches,
        replace(settings, epochs=PASSES * settings.epochs, rate=RATE * settings.rate),
        folder=folder,
        on_epoch=on_epoch,
        batch_loss=distillation_loss(teacher.network, settings.loss),
        show=show,
    )
    teacher.network.to("cpu")
    return student, compare_heads(teacher, student, batches)


def distillation_loss(teacher: HeadNetwork, loss: Loss) -> BatchLoss:
    """Give the loss of a student: that of `divergence`, and of what was liked."""

    def batch_loss(made: Labelled, scores: Tensor) -> Tensor:
        batch, labels, corrections = made
        with torch.no_grad():
            taught = teacher(batch).float().mean(dim=0)
        total = scores.new_zeros(())
        for member in scores:
            apart = divergence(taught, member, batch.mask, corrections)
            liked = loss_of(loss, member, labels, batch.mask, corrections)
            total = total + (apart + LABELS * liked).mean()
        return total

    return batch_loss


def divergence(taught: Tensor, scores: Tensor, mask: Tensor, corrections: Tensor) -> Tensor:
    """Give how far scores are from those taught: KL of their softmaxes, for each user.

    Parameters
    ----------
    taught, scores : Tensor
        Of the teacher and the student, shape (n_users, n_candidates).
    mask : Tensor
        bool, the same shape: which are candidates.
    corrections : Tensor
        Log-probability that a candidate was kept, the same shape: one that was kept with
        probability q stands for 1 / q of them.

    Returns
    -------
    Tensor
        Shape (n_users,); times the square of the temperature, so that its gradient does not
        depend on it.
    """

    def logs(of: Tensor) -> Tensor:
        own = (of / TEMPERATURE - corrections).masked_fill(~mask, -torch.inf)
        return torch.log_softmax(own, dim=1).masked_fill(~mask, 0)

    wanted, found = logs(taught), logs(scores)
    weights = torch.exp(wanted) * mask
    return TEMPERATURE**2 * (weights * (wanted - found)).sum(dim=1)


def compare_heads(
    teacher: RankingHead, student: RankingHead, batches: ExampleBatches
) -> HeadDistillation:
    """Measure two heads on the tested users."""
    tested = np.flatnonzero(batches.examples.tested)
    ndcg = [_ndcg(head, batches, tested) for head in (teacher, student)]
    figures = [
        HeadFigures(
            ndcg=float(own.mean()),
            recall=float(_recall(head, batches, tested).mean()),
            parameters=sum(p.numel() for p in head.network.parameters()),
            milliseconds=_milliseconds(head, batches, tested),
        )
        for head, own in zip((teacher, student), ndcg, strict=True)
    ]
    gain = estimate(ndcg[1] - ndcg[0])
    return HeadDistillation(
        teacher=figures[0], student=figures[1], low=gain.low, high=gain.high, users=len(tested)
    )


def _ndcg(head: RankingHead, batches: ExampleBatches, users: Columns) -> PerUser:
    return batches.ndcg(users, batches.scores(head.network, users, AT_ONCE))


def _recall(head: RankingHead, batches: ExampleBatches, users: Columns) -> PerUser:
    examples, found = batches.examples, np.zeros(len(users))
    for at, (user, scores) in enumerate(
        zip(users, batches.scores(head.network, users, AT_ONCE), strict=True)
    ):
        labels = examples.labels[examples.starts[user] : examples.starts[user + 1]]
        best = np.argsort(-scores, kind="stable")[:DEEP]
        found[at] = labels[best].sum() / max(1, examples.wanted[user])
    return found


def _milliseconds(head: RankingHead, batches: ExampleBatches, users: Columns) -> float:
    """Time the network on users one by one, as in use."""
    some = [batches.make(users[[at]]).batch for at in range(min(TIMED, len(users)))]
    taken = []
    with torch.inference_mode():
        for batch in [*some[:3], *some]:
            start = time.perf_counter()
            head.network.score(batch)
            taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken[3:] or taken or [0.0])
