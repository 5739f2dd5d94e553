"""What a step learns from: pairs, what belongs together among them, and texts to hold on to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.encoders.training.finetuning.settings import FinetuneSettings
from isthmus.encoders.training.finetuning.splits import Pairs, Rows


class Lesson(NamedTuple):
    """A step.

    Attributes
    ----------
    rows : numpy.ndarray
        int64, shape (n,): the contents of the step, each once.
    first, second : numpy.ndarray
        int64, shape (n_pairs,): places among `rows` of the two sides of each pair.
    same : numpy.ndarray
        bool, shape (n_pairs, n_pairs): whether one side of a pair belongs to the other side of
        another pair too.
    held : numpy.ndarray
        int64: places among `rows` of the texts to hold on to.
    anchors : numpy.ndarray
        int64: which of the anchors these are.
    """

    rows: Rows
    first: Rows
    second: Rows
    same: npt.NDArray[np.bool_]
    held: Rows
    anchors: Rows


class Lessons:
    """The steps of a fine-tuning, in an order that the seed and the number of a step give.

    Parameters
    ----------
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): the pairs to learn from.
    known : numpy.ndarray
        int64, shape (n_known, 2): all pairs that are known, these among them.
    ordered : bool
        Whether the sides of a pair differ in kind; if not, they are swapped at random.
    anchor_rows : range
        Rows of the texts to hold on to.
    settings : FinetuneSettings
        Pairs and anchors a step, and the seed.
    """

    def __init__(
        self,
        pairs: Pairs,
        known: Pairs,
        ordered: bool,
        anchor_rows: range,
        settings: FinetuneSettings,
    ) -> None:
        from scipy.sparse import csr_array

        self._pairs, self._ordered, self._anchor_rows = pairs, ordered, anchor_rows
        self._settings = settings
        self._size = min(settings.batch, len(pairs))
        self.per_pass = len(pairs) // self._size  # what is left over waits for another pass
        count = max(int(known.max()) + 1, 1)
        both = np.concatenate([known, known[:, ::-1]])
        self._together = csr_array((np.ones(len(both)), both.T), shape=(count, count))
        self._order, self._ordered_for = np.empty(0, np.int64), -1

    def lesson(self, step: int) -> Lesson:
        """Give a step, the same whether it is the first or comes after an interrupt."""
        number, at = divmod(step, self.per_pass)
        if number != self._ordered_for:
            random = np.random.default_rng([self._settings.seed, number])
            self._order, self._ordered_for = random.permutation(len(self._pairs)), number
        random = np.random.default_rng([self._settings.seed, number, at])
        pairs = self._pairs[self._order[at * self._size : (at + 1) * self._size]]
        if not self._ordered:
            swapped = random.random(len(pairs)) < 0.5
            pairs = np.where(swapped[:, None], pairs[:, ::-1], pairs)
        count = min(self._settings.anchors, len(self._anchor_rows)) if self._settings.anchor else 0
        anchors = random.choice(len(self._anchor_rows), count, replace=False)
        held = anchors + self._anchor_rows.start
        rows, places = np.unique(np.concatenate([pairs.T.ravel(), held]), return_inverse=True)
        size = len(pairs)
        return Lesson(
            rows,
            places[:size],
            places[size : 2 * size],
            self._belong(pairs),
            places[2 * size :],
            anchors,
        )

    def _belong(self, pairs: Pairs) -> npt.NDArray[np.bool_]:
        """Tell which first sides belong to which second sides: known pairs, and copies."""
        first, second = pairs.T
        known = np.asarray(self._together[first][:, second].toarray() > 0)
        copies = (first[:, None] == first) | (second[:, None] == second)
        same: npt.NDArray[np.bool_] = known | copies | (first[:, None] == second)
        return same
