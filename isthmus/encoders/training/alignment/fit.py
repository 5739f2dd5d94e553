"""From pairs to projection heads: closed form, contrastive training, experts, and a report."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.training.alignment.closed_form import Correlations, Heads
from isthmus.encoders.training.alignment.cross_modal_recall import (
    mean_recall,
    rounded_recall_by_set,
)
from isthmus.encoders.training.alignment.pairs import Groups, Pairs
from isthmus.encoders.training.settings import MIN_PAIRS, AlignmentSettings
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar

RIDGES_TEXT = (0.03, 0.3, 3.0, 10.0)
RIDGES_IMAGE = (0.1, 1.0, 10.0, 30.0)
POWERS = (0.0, 0.5, 1.0)
AXIS_SHARES = (1.0, 0.5, 0.25)  # shares of the canonical axes, the strongest first
MIN_EXPERT_PAIRS = 10  # training pairs of a set, and validation pairs, for an expert of its own
COMMON_WEIGHTS = (0.1, 0.25, 0.5, 1.0)
GATE_DECAY = 1e-3
GATE_ITERATIONS = 60


@dataclass(frozen=True, eq=False)
class FittedAlignment:
    """Projection heads and their report.

    Attributes
    ----------
    heads : tuple of ProjectionHead
        Of text and image.
    report : dict of str to Any
        Settings, pairs, and for each set and method recall@10 both ways on the held-out pairs.
    """

    heads: Heads
    report: dict[str, Any]


def fit_alignment(
    pairs: Pairs, settings: AlignmentSettings | None = None, *, progress: bool = False
) -> FittedAlignment:
    """Fit heads to pairs of one or several sets.

    Contrastive training starts from regularised CCA, whose hyperparameters are chosen on the
    held-out pairs, and stops when recall on those no longer improves.

    Parameters
    ----------
    pairs : Pairs
        Texts and images that belong together.
    settings : AlignmentSettings, optional
        Hyperparameters.
    progress : bool, default False
        Whether to show progress bars.

    Raises
    ------
    InvalidInput
        If fewer than 20 pairs are left to train on.
    """
    settings = settings or AlignmentSettings()
    training, held_out = pairs.split(settings.held_out, settings.seed)
    if len(training) < MIN_PAIRS:
        raise InvalidInput(
            f"{len(pairs)} pairs of text and picture, {len(training)} of them to learn from; give "
            f"{MIN_PAIRS} or more"
        )
    validation = held_out if len(held_out) else training
    start = time.perf_counter()
    closed, chosen = closed_form(training, validation, settings.dim, progress=progress)
    closed_seconds = time.perf_counter() - start
    start = time.perf_counter()
    heads, details = train_sets(closed, training, validation, settings, progress=progress)
    report = {
        "settings": asdict(settings),
        "pairs": {name: int((pairs.sets == n).sum()) for n, name in enumerate(pairs.names)},
        "held_out": len(held_out),
        "closed_form": chosen,
        **details,
        "seconds": {
            "closed_form": round(closed_seconds, 1),
            "learning": round(time.perf_counter() - start, 1),
        },
        "recall@10": {
            "aligned": rounded_recall_by_set(heads, validation),
            "cca": rounded_recall_by_set(closed, validation),
        },
    }
    return FittedAlignment(heads, report)


def closed_form(
    training: Pairs, validation: Pairs, dim: int, *, progress: bool = False
) -> tuple[Heads, dict[str, float]]:
    """Return the regularised CCA with the best validation recall, and its hyperparameters."""
    correlations = Correlations(training.text, training.image)
    grid = list(itertools.product(RIDGES_TEXT, RIDGES_IMAGE, AXIS_SHARES, POWERS))
    best: tuple[float, Heads | None, dict[str, float]] = (-1.0, None, {})
    with progress_bar("closed form", len(grid), show=progress) as advance:
        for ridge_text, ridge_image, share, power in grid:
            axes = max(int(share * dim), 1)
            heads = correlations.cca(dim, ridge_text, ridge_image, power, axes)
            recall = mean_recall(heads, validation)
            if recall > best[0]:
                chosen = {"ridge_text": ridge_text, "ridge_image": ridge_image, "power": power}
                best = recall, heads, {**chosen, "axes": axes}
            advance(1)
    if best[1] is None:
        raise InvalidInput("no pair to choose a closed form by")
    return best[1], best[2]


def train_sets(
    closed: Heads,
    training: Pairs,
    validation: Pairs,
    settings: AlignmentSettings,
    *,
    progress: bool = False,
) -> tuple[Heads, dict[str, Any]]:
    """Train heads on one or several sets; several sets get experts of their own.

    Parameters
    ----------
    closed : tuple of ProjectionHead
        The closed form over all sets.
    training, validation : Pairs
        Pairs to train on, and to stop by.
    settings : AlignmentSettings
        Hyperparameters.
    progress : bool, default False
        Whether to show progress bars.

    Returns
    -------
    heads : tuple of ProjectionHead
        Of text and image.
    details : dict of str to Any
        Best epoch, temperature, and the weight of the common heads if there are experts.
    """
    numbers = range(len(training.names))
    smallest = min(min((p.sets == n).sum() for p in (training, validation)) for n in numbers)
    alone = len(numbers) == 1 or settings.hidden or not settings.experts
    if alone or smallest < MIN_EXPERT_PAIRS:
        return train_from(closed, training, validation, settings, progress=progress)
    expert_dim = max(settings.dim // (len(numbers) + 1), 1)
    common_settings = replace(settings, dim=settings.dim - expert_dim * len(numbers))
    start = closed_form(training, validation, common_settings.dim, progress=progress)[0]
    common, details = train_from(start, training, validation, common_settings, progress=progress)
    experts = []
    for number in numbers:
        of_set, validation_of_set = training.of_set(number), validation.of_set(number)
        start = closed_form(of_set, validation_of_set, expert_dim, progress=progress)[0]
        expert_settings = replace(settings, dim=expert_dim)
        expert, _ = train_from(start, of_set, validation_of_set, expert_settings, progress=progress)
        experts.append(expert)
    candidates = [combine_experts(common, experts, training, weight) for weight in COMMON_WEIGHTS]
    best = int(np.argmax([mean_recall(heads, validation) for heads in candidates]))
    return candidates[best], {**details, "share_of_common": COMMON_WEIGHTS[best]}


def train_from(
    start: Heads,
    training: Pairs,
    validation: Pairs,
    settings: AlignmentSettings,
    *,
    progress: bool = False,
) -> tuple[Heads, dict[str, Any]]:
    """Train heads from a start; return the best, their epoch and their temperature."""
    from isthmus.encoders.training.alignment.contrastive import train_heads  # imports torch

    trained = train_heads(
        start,
        training,
        settings,
        lambda heads: mean_recall(heads, validation),
        show=progress,
    )
    details = {"epochs": trained.epochs, "temperature": round(trained.temperature, 4)}
    return trained.heads, details


def combine_experts(
    common: Heads, experts: Sequence[Heads], pairs: Pairs, common_weight: float
) -> Heads:
    """Concatenate heads; a gate weighs each expert by how much an input looks like its set.

    The inner product of a text and an image is then ``common_weight`` times that of the common
    heads, plus that of each expert times the gates of both inputs: a mixture of experts (Jacobs et
    al., "Adaptive mixtures of local experts", Neural Computation, 1991) that is one vector still.
    An input that resembles none of the sets is left to the common heads.

    Parameters
    ----------
    common : tuple of ProjectionHead
        Linear heads trained on all sets.
    experts : sequence of tuple of ProjectionHead
        Linear heads trained on each set, in the order of `pairs.names`.
    pairs : Pairs
        Training data of the gate.
    common_weight : float
        Weight of the common heads, from 0 to 1.
    """
    text, image = (
        _concatenate(
            [common[side], *(heads[side] for heads in experts)],
            common_weight,
            _fit_gate(vectors, pairs.sets),
        )
        for side, vectors in enumerate((pairs.text, pairs.image))
    )
    return text, image


def _concatenate(
    heads: Sequence[ProjectionHead], common_weight: float, gate: tuple[FloatArray, FloatArray]
) -> ProjectionHead:
    first = heads[0]
    columns = np.cumsum([0, *(head.dim for head in heads)])
    share = np.zeros((len(heads), columns[-1]), np.float32)  # (n_experts + 1, dim)
    share[-1, : first.dim] = np.sqrt(common_weight)
    for expert, (start, end) in enumerate(itertools.pairwise(columns[1:])):
        share[expert, start:end] = np.sqrt(1 - common_weight)
    biases = [head.bias + (first.mean - head.mean) @ head.linear for head in heads]
    return ProjectionHead(
        first.mean,
        np.concatenate([head.linear for head in heads], axis=1),
        np.concatenate(biases).astype(np.float32),
        gate=gate[0],
        gate_bias=gate[1],
        share=share,
    )


def _fit_gate(vectors: FloatArray, sets: Groups) -> tuple[FloatArray, FloatArray]:
    """Return weights and biases of a logistic regression of the set, each set with equal weight."""
    import torch
    from torch.nn.functional import cross_entropy

    inputs, labels = torch.from_numpy(vectors), torch.from_numpy(sets)
    sizes = torch.bincount(labels).float()
    weights = len(sets) / (len(sizes) * sizes.clamp(min=1))
    gate = torch.zeros(vectors.shape[1], len(sizes), requires_grad=True)
    bias = torch.zeros(len(sizes), requires_grad=True)
    optimizer = torch.optim.LBFGS([gate, bias], max_iter=GATE_ITERATIONS)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(inputs @ gate + bias, labels, weight=weights)
        loss = loss + GATE_DECAY * gate.pow(2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return gate.detach().numpy(), bias.detach().numpy()
