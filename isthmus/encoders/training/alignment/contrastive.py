"""Contrastive training of projection heads, from a closed form, until validation stops it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import dropout, normalize

from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.training.alignment.closed_form import Heads
from isthmus.encoders.training.alignment.pairs import Pairs
from isthmus.encoders.training.losses import same_content, symmetric_contrastive
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.training import TrainingLoop, Validation

INITIAL_TEMPERATURE = 0.07
MIN_TEMPERATURE = 0.01
TEMPERATURE_RATE = 1e-2
MINING_INTERVAL = 3  # epochs: hard negatives change slowly
NEIGHBORS = 8
ROWS_AT_ONCE = 1_024


@dataclass(frozen=True, eq=False)
class TrainedHeads:
    """Result of contrastive training.

    Attributes
    ----------
    heads : tuple of ProjectionHead
        Of text and image, at their best epoch.
    recall : float
        Validation score of the heads.
    epochs : int
        The best epoch; 0 is the initial heads.
    temperature : float
        Learned temperature at the best epoch.
    """

    heads: Heads
    recall: float
    epochs: int
    temperature: float


def train_heads(
    start: Heads,
    pairs: Pairs,
    settings: AlignmentSettings,
    measure: Callable[[Heads], float],
    *,
    show: bool = False,
) -> TrainedHeads:
    """Train heads on pairs with the symmetric contrastive loss.

    Parameters
    ----------
    start : tuple of ProjectionHead
        The initial heads of text and image.
    pairs : Pairs
        The training pairs.
    settings : AlignmentSettings
        Hyperparameters.
    measure : callable
        Returns the validation score of heads; the best heads are returned, which may be `start`.
    show : bool, default False
        Whether to show a progress bar.
    """
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random state as it was
        training = _ContrastiveTraining(start, pairs, settings)
        history = TrainingLoop(
            training.loss,
            training.batches,
            training.optimizer,
            settings.epochs,
            model=training.model,
            validation=Validation(
                lambda: {"recall": measure(training.model.heads())}, patience=settings.patience
            ),
        ).run("contrastive training", show=show)
    best = history.best_epoch
    heads = training.model.heads() if best else start
    return TrainedHeads(heads, history.best.score, best, training.model.temperature)


class TrainableHead(nn.Module):
    """A projection head with gradients, initialised from a linear head.

    Parameters
    ----------
    start : ProjectionHead
        The initial linear head. A hidden part, if any, is initialised to contribute nothing.
    hidden : int
        Units of the nonlinear part; 0 for a linear head.
    drop : float
        Dropout rate of the inputs and of the hidden units.
    inputs : numpy.ndarray
        float32, shape (n, n_in): sample of the inputs, whose norm scales the hidden weights.
    """

    def __init__(self, start: ProjectionHead, hidden: int, drop: float, inputs: FloatArray) -> None:
        super().__init__()
        self.mean = torch.from_numpy(start.mean)
        self.linear = nn.Parameter(torch.from_numpy(start.linear.copy()))
        self.bias = nn.Parameter(torch.from_numpy(start.bias.copy()))
        self.start = torch.from_numpy(start.linear.copy())
        self._drop = drop
        self._hidden = hidden
        if hidden:
            norm = float(torch.from_numpy(inputs - start.mean).pow(2).sum(1).mean().sqrt())
            self.inner = nn.Parameter(torch.randn(start.n_in, hidden) / max(norm, 1e-6))
            self.offset = nn.Parameter(torch.zeros(hidden))
            self.outer = nn.Parameter(torch.zeros(hidden, start.dim))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Project vectors, shape (n, n_in), to unit rows, shape (n, dim)."""
        centred = dropout(vectors - self.mean, self._drop, self.training)
        aligned = centred @ self.linear + self.bias
        if self._hidden:
            units = torch.relu(centred @ self.inner + self.offset)  # (n, hidden)
            aligned = aligned + dropout(units, self._drop, self.training) @ self.outer
        return normalize(aligned, dim=-1)

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """Return the parameters with learning rates in proportion to their size."""
        size = float(self.start.std())
        groups: list[dict[str, Any]] = [
            {"params": [self.linear], "lr": rate * size},
            {"params": [self.bias], "lr": rate * self.start.shape[1] ** -0.5},
        ]
        if self._hidden:
            unit = self._hidden**-0.5 * self.start.shape[1] ** -0.5
            groups += [
                {"params": [self.inner], "lr": rate * float(self.inner.detach().std())},
                {"params": [self.offset], "lr": rate},
                {"params": [self.outer], "lr": rate * unit * 3},
            ]
        return groups

    def distance_from_start(self) -> torch.Tensor:
        """Return the squared distance of the linear part from its start, relative to its norm."""
        return (self.linear - self.start).pow(2).sum() / self.start.pow(2).sum()

    def head(self) -> ProjectionHead:
        """Return the head with the current parameters."""
        parts = [self.mean, self.linear, self.bias]
        if self._hidden:
            parts += [self.inner, self.offset, self.outer]
        return ProjectionHead(*(part.detach().cpu().numpy().copy() for part in parts))


class _AlignmentModel(nn.Module):
    """The heads of text and image, and the temperature."""

    def __init__(self, start: Heads, pairs: Pairs, settings: AlignmentSettings) -> None:
        super().__init__()
        self.text, self.image = (
            TrainableHead(head, settings.hidden, settings.dropout, vectors)
            for head, vectors in zip(start, (pairs.text, pairs.image), strict=True)
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(INITIAL_TEMPERATURE)))

    @property
    def temperature(self) -> float:
        return float(torch.exp(-self.log_scale.detach()))

    def heads(self) -> Heads:
        return self.text.head(), self.image.head()


class _ContrastiveTraining:
    """Batches, loss and optimiser."""

    def __init__(self, start: Heads, pairs: Pairs, settings: AlignmentSettings) -> None:
        torch.manual_seed(settings.seed)
        self._rng = np.random.default_rng(settings.seed)
        self._pairs, self._settings = pairs, settings
        self._negatives: npt.NDArray[np.int64] | None = None
        self._text, self._image = torch.from_numpy(pairs.text), torch.from_numpy(pairs.image)
        self._text_ids = torch.from_numpy(pairs.text_ids)
        self._image_ids = torch.from_numpy(pairs.image_ids)
        self.model = _AlignmentModel(start, pairs, settings)
        groups = [
            *self.model.text.parameter_groups(settings.learning_rate),
            *self.model.image.parameter_groups(settings.learning_rate),
            {"params": [self.model.log_scale], "lr": TEMPERATURE_RATE},
        ]
        self.optimizer = torch.optim.Adam(groups)

    def batches(self, epoch: int) -> Iterator[torch.Tensor]:
        """Yield rows of pairs: random ones, and hard negatives of some of them."""
        settings, count = self._settings, len(self._pairs)
        sampled = max(int(settings.batch_size * (1 - settings.hard_negatives)), 2)
        mined = min(settings.batch_size, count) - sampled
        if (epoch - 1) % MINING_INTERVAL == 0 and settings.hard_negatives and mined > 0:
            text, image = self.model.heads()
            self._negatives = mine_hard_negatives(
                text(self._pairs.text), image(self._pairs.image), self._pairs
            )
        order = self._rng.permutation(count)
        for start in range(0, count, sampled):
            rows = order[start : start + sampled]
            if self._negatives is not None:
                queries = self._rng.permutation(rows)[:mined]
                chosen = self._rng.integers(self._negatives.shape[1], size=len(queries))
                rows = np.unique(np.concatenate([rows, self._negatives[queries, chosen]]))
            if len(rows) > 1:
                yield torch.from_numpy(rows)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch, with the penalty on the distance from the start."""
        model, anchor = self.model, self._settings.anchor_weight
        text, image = model.text(self._text[rows]), model.image(self._image[rows])  # (n, dim)
        same = same_content(self._text_ids[rows], self._image_ids[rows])
        scale = model.log_scale.clamp(max=-math.log(MIN_TEMPERATURE)).exp()
        loss = self._contrastive(text, image, same, scale)
        if anchor:
            moved = model.text.distance_from_start() + model.image.distance_from_start()
            loss = loss + anchor * moved
        return loss

    def _contrastive(
        self, text: torch.Tensor, image: torch.Tensor, same: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """Return the contrastive loss under modality dropout.

        The target of a query is the other modality alone, as of an item that has one modality, or
        the mean of both, as of an item that has two.
        """
        alone = self._settings.modality_dropout
        if alone >= 1:
            return symmetric_contrastive(text, image, same, scale)
        both = normalize(text + image, dim=-1)
        dropped = torch.rand(len(text), 1) < alone
        to_image = symmetric_contrastive(text, torch.where(dropped, image, both), same, scale)
        to_text = symmetric_contrastive(torch.where(dropped, text, both), image, same, scale)
        return (to_image + to_text) / 2


def mine_hard_negatives(text: FloatArray, image: FloatArray, pairs: Pairs) -> npt.NDArray[np.int64]:
    """Return for each pair the pairs whose images lie nearest to its text.

    Parameters
    ----------
    text, image : numpy.ndarray
        float32, shape (n_pairs, dim): aligned vectors.
    pairs : Pairs
        The pairs; those that share a text or an image with the query are left out.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_pairs, min(8, n_pairs - 1)).
    """
    count = min(NEIGHBORS, max(len(pairs) - 1, 1))
    out = np.empty((len(pairs), count), np.int64)
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        piece = slice(start, start + ROWS_AT_ONCE)
        scores = text[piece] @ image.T  # (n_rows, n_pairs)
        linked = pairs.text_ids[piece, None] == pairs.text_ids
        linked |= pairs.image_ids[piece, None] == pairs.image_ids
        scores[linked] = -np.inf
        out[piece] = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return out
