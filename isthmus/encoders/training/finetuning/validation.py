"""The exam of an encoder: how well it finds in the target, and in every other domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.training.distillation.teacher_vectors import teacher_vectors
from isthmus.encoders.training.finetuning.forgetting import DividedDomain
from isthmus.encoders.training.finetuning.pairs import ContentPairs
from isthmus.encoders.training.finetuning.quality import (
    Figures,
    PairTruth,
    search_all,
    similarity_kept,
)
from isthmus.encoders.training.finetuning.splits import Rows, pairs_within
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import MODALITIES

Measure = Literal["pairs", "labels", "neighbours"]

TARGET = "target"


@dataclass(frozen=True, eq=False)
class Mark:
    """What an encoder is worth in one domain.

    Attributes
    ----------
    measure : {"pairs", "labels", "neighbours"}
        What should be found: the other content of a pair, contents of the same label, or what
        was near before.
    quality : numpy.ndarray
        float64, shape (n_queries,): NDCG@10; for neighbours `similarity_kept`.
    recall : numpy.ndarray
        float64, shape (n_queries,): recall@10; for neighbours the same as `quality`.
    searched : int
        Contents that were searched.
    """

    measure: Measure
    quality: Figures
    recall: Figures
    searched: int


class Exam:
    """One part of the contents, that encoders are asked about.

    Parameters
    ----------
    contents : ContentPairs
        Of the target.
    parts : numpy.ndarray
        int64: the part of each of them.
    others : sequence of DividedDomain
        The other domains.
    part : int
        Which part is asked.
    folder : Path
        Where vectors are kept, by the fingerprint of the encoder.
    bystanders : bool
        Whether contents of the target that belong to no other are searched too.
    show : bool
        Whether to show bars.
    """

    def __init__(
        self,
        contents: ContentPairs,
        parts: Rows,
        others: Sequence[DividedDomain],
        part: int,
        folder: Path,
        *,
        bystanders: bool = True,
        show: bool = False,
    ) -> None:
        self._contents, self._others, self._part = contents, others, part
        self._folder, self._show = folder, show
        pairs = pairs_within(contents.pairs, parts, part)
        self.rows = np.flatnonzero(parts == part) if bystanders else np.unique(pairs)
        places = np.full(len(parts), -1)
        places[self.rows] = np.arange(len(self.rows))
        self.pairs = places[pairs]
        self._before: Encoder | None = None

    def start_from(self, encoder: Encoder) -> dict[str, Mark]:
        """Ask the encoder that others are compared with."""
        self._before = encoder
        return self.ask(encoder)

    def ask(self, encoder: Encoder) -> dict[str, Mark]:
        """Ask an encoder; give its mark in the target and in each other domain, by name."""
        marks = {TARGET: self.mark_of(self._target_vectors(encoder))}
        for divided in self._others:
            if len(divided.rows(self._part)) > 1:
                marks[divided.domain.name] = self._elsewhere(encoder, divided)
        return {name: mark for name, mark in marks.items() if len(mark.quality)}

    def mark_of(self, vectors: FloatArray) -> Mark:
        """Give what vectors of the target's contents of this part are worth."""
        kinds = [MODALITIES.index(self._contents.modalities[row]) for row in self.rows]
        sides = np.array(kinds, np.int64) if self._contents.ordered else None
        found = search_all(vectors, PairTruth(len(self.rows), self.pairs), sides)
        return Mark("pairs", found.ndcg, found.recall, len(self.rows))

    def _target_vectors(self, encoder: Encoder) -> FloatArray:
        out = np.empty((len(self.rows), encoder.dim), np.float32)
        kinds = [self._contents.modalities[row] for row in self.rows]
        for modality in sorted(set(kinds)):
            at = [place for place, kind in enumerate(kinds) if kind == modality]
            own = [int(self.rows[place]) for place in at]
            out[at] = teacher_vectors(
                encoder,
                modality,
                [self._contents.digests[row] for row in own],
                _picking(self._contents.load, own),
                self._folder,
                label="encoding the target",
                show=self._show,
            )
        return out

    def _elsewhere(self, encoder: Encoder, divided: DividedDomain) -> Mark:
        rows = divided.rows(self._part)
        truth = divided.truth(self._part)
        vectors = self._text_vectors(encoder, divided, rows)
        if truth is None:
            before = self._text_vectors(self._before or encoder, divided, rows)
            kept = similarity_kept(before, vectors)
            return Mark("neighbours", kept, kept, len(rows))
        found = search_all(vectors, truth)
        measure: Measure = "labels" if divided.domain.pairs is None else "pairs"
        return Mark(measure, found.ndcg, found.recall, len(rows))

    def _text_vectors(self, encoder: Encoder, divided: DividedDomain, rows: Rows) -> FloatArray:
        return teacher_vectors(
            encoder,
            "text",
            [divided.digests[row] for row in rows],
            lambda wanted: [divided.domain.texts[rows[at]] for at in wanted],
            self._folder,
            label=f"encoding {divided.domain.name}",
            show=self._show,
        )


def _picking(
    load: Callable[[Iterable[int]], list[Any]], rows: Sequence[int]
) -> Callable[[Iterable[int]], list[Any]]:
    """Give a loader of places among some rows."""
    return lambda wanted: load([rows[at] for at in wanted])
