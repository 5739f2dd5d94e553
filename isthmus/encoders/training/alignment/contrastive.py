"""Contrastive learning of heads, from a closed form on, until pairs held out gain no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from isthmus.encoders.training.alignment.closed_form import Heads
from isthmus.encoders.training.alignment.hard_negatives import confusable
from isthmus.encoders.training.alignment.loss import belongs, symmetric_contrastive
from isthmus.encoders.training.alignment.network import HeadNetwork
from isthmus.encoders.training.alignment.pairs import Pairs
from isthmus.encoders.training.alignment.settings import AlignmentSettings
from isthmus.progress import Advance, ignore_progress

FIRST_TEMPERATURE = 0.07
SMALLEST_TEMPERATURE = 0.01
TEMPERATURE_STEP = 1e-2
MINE_EVERY = 3  # passes: what is confused changes slowly

Quality = Callable[[Heads], float]


@dataclass(frozen=True, eq=False)
class Learned:
    """What learning came to.

    Attributes
    ----------
    heads : tuple of Head
        Of text and image.
    quality : float
        On the pairs held out.
    epochs : int
        Passes it took to the best.
    temperature : float
        Learned temperature of the last pass.
    """

    heads: Heads
    quality: float
    epochs: int
    temperature: float


def learn_heads(
    start: Heads,
    pairs: Pairs,
    settings: AlignmentSettings,
    quality: Quality,
    advance: Advance = ignore_progress,
) -> Learned:
    """Learn heads from pairs.

    Parameters
    ----------
    start : tuple of Head
        Where to start.
    pairs : Pairs
        Pairs to learn from.
    settings : AlignmentSettings
        How.
    quality : callable
        Tells how good heads are; the best are kept, the start among them.
    advance : callable, optional
        Told of each pass.
    """
    best = Learned(start, quality(start), 0, FIRST_TEMPERATURE)
    with torch.random.fork_rng(devices=[]):  # what the caller draws does not depend on it
        lesson = _Lesson(start, pairs, settings)
        for epoch in range(1, settings.epochs + 1):
            lesson.epoch()
            heads = lesson.heads()
            reached = quality(heads)
            advance(1)
            if reached > best.quality:
                best = Learned(heads, reached, epoch, lesson.temperature)
            elif epoch - best.epochs >= settings.patience:
                break
    return best


class _Lesson:
    """Heads, an optimiser, and the pairs as tensors."""

    def __init__(self, start: Heads, pairs: Pairs, settings: AlignmentSettings) -> None:
        torch.manual_seed(settings.seed)
        self._rng = np.random.default_rng(settings.seed)
        self._pairs, self._settings = pairs, settings
        self._near: npt.NDArray[np.int64] | None = None
        self._passes = 0
        self._contents = torch.from_numpy(pairs.text), torch.from_numpy(pairs.image)
        self._ids = torch.from_numpy(pairs.text_ids), torch.from_numpy(pairs.image_ids)
        self._networks = [
            HeadNetwork(head, settings.hidden, settings.dropout, vectors)
            for head, vectors in zip(start, (pairs.text, pairs.image), strict=True)
        ]
        self._log_scale = torch.nn.Parameter(torch.tensor(-math.log(FIRST_TEMPERATURE)))
        groups = [g for n in self._networks for g in n.groups(settings.learning_rate)]
        groups.append({"params": [self._log_scale], "lr": TEMPERATURE_STEP})
        self._optimiser = torch.optim.Adam(groups)

    @property
    def temperature(self) -> float:
        return float(torch.exp(-self._log_scale.detach()))

    def heads(self) -> Heads:
        text, image = (network.head() for network in self._networks)
        return text, image

    def epoch(self) -> None:
        """Go through the pairs once."""
        for network in self._networks:
            network.train()
        for rows in self._batches():
            self._step(torch.from_numpy(rows))

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Give batches of pairs drawn, and of pairs that those are confused with."""
        settings, count = self._settings, len(self._pairs)
        drawn = max(int(settings.batch * (1 - settings.hard)), 2)
        mined = min(settings.batch, count) - drawn
        if self._passes % MINE_EVERY == 0 and settings.hard and mined > 0:
            self._near = self._confusable()
        self._passes += 1
        near = self._near
        order = self._rng.permutation(count)
        for start in range(0, count, drawn):
            rows = order[start : start + drawn]
            if near is not None:
                asking = self._rng.permutation(rows)[:mined]
                chosen = self._rng.integers(near.shape[1], size=len(asking))
                rows = np.unique(np.concatenate([rows, near[asking, chosen]]))
            if len(rows) > 1:
                yield rows

    def _confusable(self) -> npt.NDArray[np.int64]:
        text, image = self.heads()
        return confusable(text(self._pairs.text), image(self._pairs.image), self._pairs)

    def _step(self, rows: torch.Tensor) -> None:
        text, image = (
            network(vectors[rows])
            for network, vectors in zip(self._networks, self._contents, strict=True)
        )
        same = belongs(self._ids[0][rows], self._ids[1][rows])
        scale = self._log_scale.clamp(max=-math.log(SMALLEST_TEMPERATURE)).exp()
        loss = self._loss(text, image, same, scale)
        if self._settings.anchor:
            loss = loss + self._settings.anchor * sum(n.moved() for n in self._networks)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()

    def _loss(
        self, text: torch.Tensor, image: torch.Tensor, same: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """Give the loss with each item shown by its other modality, or by the mean of both."""
        alone = self._settings.modality_dropout
        if alone >= 1:
            return symmetric_contrastive(text, image, same, scale)
        both = torch.nn.functional.normalize(text + image, dim=-1)
        shown = torch.rand(len(text), 1) < alone
        to_image = symmetric_contrastive(text, torch.where(shown, image, both), same, scale)
        to_text = symmetric_contrastive(torch.where(shown, text, both), image, same, scale)
        return (to_image + to_text) / 2
