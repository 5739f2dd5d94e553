"""Quality of an encoder in the target domain, and in other domains, which it may forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.training.cached_vectors import encode_cached
from isthmus.encoders.training.distillation.inputs import MAX_LABEL_SIZE, gather_contents
from isthmus.encoders.training.finetuning.pairs import (
    TRAINING,
    ContentPairs,
    Pairs,
    assign_splits,
    component_keys,
    pairs_of_split,
)
from isthmus.encoders.training.retrieval_quality import (
    LabelRelevance,
    PairRelevance,
    PerQuery,
    Relevance,
    Rows,
    nearest_neighbors,
    neighbor_cosines,
    search_quality,
)
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import MODALITIES

Measure = Literal["pairs", "labels", "neighbours"]

TARGET: Final = "target"
VALIDATION_SHARE: Final = 0.2
TEST_SHARE: Final = 0.3
MAX_VALIDATION: Final = 1_000  # they are encoded for every share of the change
MAX_TEST: Final = 2_500
MAX_ANCHORS: Final = 1_000


@dataclass(frozen=True)
class OtherDomain:
    """Texts of another domain, and which of them belong together.

    Attributes
    ----------
    name : str
        Name in the report.
    texts : list of str
        Texts of the domain.
    labels : list of str, optional
        Label of each text, empty without one: texts of one label belong together.
    pairs : numpy.ndarray, optional
        int64, shape (n_pairs, 2): rows of texts that belong together, instead of labels. With
        neither, the measure is how much of the similarity of nearest neighbours is kept.
    """

    name: str
    texts: list[str]
    labels: list[str] | None = None
    pairs: Pairs | None = None


@dataclass(frozen=True, eq=False)
class SplitDomain:
    """Another domain with its texts split into anchors, validation and test texts.

    Attributes
    ----------
    domain : OtherDomain
        The domain, with distinct texts.
    digests : list of bytes
        Digest of each text.
    splits : numpy.ndarray
        int64, shape (n_texts,): see `assign_splits`.
    """

    domain: OtherDomain
    digests: list[bytes] = field(repr=False)
    splits: Rows = field(repr=False)

    @property
    def anchors(self) -> list[str]:
        """Texts of the training split, at most `MAX_ANCHORS`, sampled by their digests."""
        rows = sorted(self.rows(TRAINING).tolist(), key=lambda row: self.digests[row])
        return [self.domain.texts[row] for row in rows[:MAX_ANCHORS]]

    def rows(self, split: int) -> Rows:
        """Return the rows of a split."""
        return np.flatnonzero(self.splits == split)

    def relevance(self, split: int) -> Relevance | None:
        """Return the relevance among the texts of a split; None without labels and pairs."""
        rows = self.rows(split)
        if self.domain.pairs is not None:
            positions = np.full(len(self.splits), -1)
            positions[rows] = np.arange(len(rows))
            pairs = pairs_of_split(self.domain.pairs, self.splits, split)
            return PairRelevance(len(rows), positions[pairs])
        if self.domain.labels is not None:
            return LabelRelevance([self.domain.labels[row] for row in rows])
        return None


def split_domain(domain: OtherDomain, seed: int) -> SplitDomain:
    """Split the distinct texts of another domain."""
    domain = _distinct(domain)
    digests = [digest(text) for text in domain.texts]
    count = max(len(digests), 1)
    shares = (
        min(VALIDATION_SHARE, MAX_VALIDATION / count),
        min(TEST_SHARE, MAX_TEST / count),
    )
    return SplitDomain(domain, digests, assign_splits(_keys(domain, digests), *shares, seed))


def gather_domains(
    given: Sequence[Any], text: str | None = None, label: str | None = None
) -> list[OtherDomain]:
    """Read other domains.

    Parameters
    ----------
    given : sequence
        `OtherDomain`, or what `gather_contents` takes: files, rows or texts.
    text, label : str, optional
        Template of the text; column of the label.
    """
    counts: dict[str, int] = {}
    domains = []
    for number, one in enumerate(given):
        if isinstance(one, OtherDomain):
            domains.append(one)
            continue
        contents = gather_contents(one, "text", text, label)
        name = Path(one).stem if isinstance(one, (str, Path)) else f"other {number + 1}"
        counts[name] = counts.get(name, 0) + 1
        name = f"{name} {counts[name]}" if counts[name] > 1 else name
        domains.append(OtherDomain(name, contents.values, contents.labels))
    return domains


def _distinct(domain: OtherDomain) -> OtherDomain:
    """Return a domain with each text once."""
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(text, len(numbers)) for text in domain.texts], np.int64)
    first = np.unique(rows, return_index=True)[1]
    labels = None if domain.labels is None else [domain.labels[row] for row in first]
    pairs = domain.pairs
    if pairs is not None:
        pairs = np.unique(np.sort(rows[pairs], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return OtherDomain(domain.name, list(numbers), labels, pairs)


def _keys(domain: OtherDomain, digests: list[bytes]) -> list[bytes]:
    """Return a key for each text: texts that belong together stay in one split if they can."""
    if domain.pairs is not None:
        return component_keys(digests, domain.pairs)
    labels = domain.labels
    if labels is not None and len(labels) <= MAX_LABEL_SIZE * len(set(labels)):
        return [label.encode() or text for label, text in zip(labels, digests, strict=True)]
    return digests


@dataclass(frozen=True, eq=False)
class DomainQuality:
    """Quality of an encoder in one domain.

    Attributes
    ----------
    measure : {"pairs", "labels", "neighbours"}
        What is relevant: the other content of a pair, contents of the same label, or the nearest
        neighbours before fine-tuning.
    quality : numpy.ndarray
        float64, shape (n_queries,): NDCG@10; for neighbours `similarity_kept`.
    recall : numpy.ndarray
        float64, shape (n_queries,): recall@10; for neighbours the same as `quality`.
    searched : int
        Number of contents that were searched.
    """

    measure: Measure
    quality: PerQuery
    recall: PerQuery
    searched: int


class Evaluation:
    """Evaluates encoders on one split of the target and of the other domains.

    Parameters
    ----------
    contents : ContentPairs
        Contents of the target.
    splits : numpy.ndarray
        int64: the split of each of them.
    others : sequence of SplitDomain
        The other domains.
    split : int
        The split that is evaluated.
    folder : Path
        Folder of the embedding cache.
    distractors : bool, default True
        Whether contents of the target that are in no pair are searched too.
    show : bool, default False
        Whether to show progress bars.

    Attributes
    ----------
    rows : numpy.ndarray
        int64: contents of the target that are searched.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): pairs of the split, as positions in `rows`.
    """

    def __init__(
        self,
        contents: ContentPairs,
        splits: Rows,
        others: Sequence[SplitDomain],
        split: int,
        folder: Path,
        *,
        distractors: bool = True,
        show: bool = False,
    ) -> None:
        self._contents, self._others, self._split = contents, others, split
        self._folder, self._show = folder, show
        pairs = pairs_of_split(contents.pairs, splits, split)
        self.rows = np.flatnonzero(splits == split) if distractors else np.unique(pairs)
        positions = np.full(len(splits), -1)
        positions[self.rows] = np.arange(len(self.rows))
        self.pairs = positions[pairs]

    def evaluate(self, encoder: Encoder, before: Encoder) -> dict[str, DomainQuality]:
        """Return the quality of an encoder in the target and in each other domain, by name.

        Parameters
        ----------
        encoder : Encoder
            The encoder.
        before : Encoder
            The encoder before fine-tuning, whose neighbours are the reference of domains without
            labels and pairs.
        """
        qualities = {TARGET: self.target_quality(self._target_vectors(encoder))}
        for other in self._others:
            if len(other.rows(self._split)) > 1:
                qualities[other.domain.name] = self._other_quality(encoder, before, other)
        return {name: found for name, found in qualities.items() if len(found.quality)}

    def target_quality(self, vectors: FloatArray) -> DomainQuality:
        """Return the quality of vectors of `rows`, float32, shape (len(rows), dim)."""
        modalities = [MODALITIES.index(self._contents.modalities[row]) for row in self.rows]
        sides = np.array(modalities, np.int64) if self._contents.ordered else None
        found = search_quality(vectors, PairRelevance(len(self.rows), self.pairs), sides)
        return DomainQuality("pairs", found.ndcg, found.recall, len(self.rows))

    def _target_vectors(self, encoder: Encoder) -> FloatArray:
        vectors = np.empty((len(self.rows), encoder.dim), np.float32)
        modalities = [self._contents.modalities[row] for row in self.rows]
        for modality in sorted(set(modalities)):
            positions = [n for n, row_modality in enumerate(modalities) if row_modality == modality]
            rows = [int(self.rows[position]) for position in positions]
            vectors[positions] = encode_cached(
                encoder,
                modality,
                [self._contents.digests[row] for row in rows],
                _loader(self._contents.load, rows),
                self._folder,
                label="encoding the target",
                show=self._show,
            )
        return vectors

    def _other_quality(
        self, encoder: Encoder, before: Encoder, other: SplitDomain
    ) -> DomainQuality:
        rows = other.rows(self._split)
        relevance = other.relevance(self._split)
        vectors = self._text_vectors(encoder, other, rows)
        if relevance is None:
            kept = similarity_kept(self._text_vectors(before, other, rows), vectors)
            return DomainQuality("neighbours", kept, kept, len(rows))
        found = search_quality(vectors, relevance)
        measure: Measure = "labels" if other.domain.pairs is None else "pairs"
        return DomainQuality(measure, found.ndcg, found.recall, len(rows))

    def _text_vectors(self, encoder: Encoder, other: SplitDomain, rows: Rows) -> FloatArray:
        return encode_cached(
            encoder,
            "text",
            [other.digests[row] for row in rows],
            lambda positions: [other.domain.texts[rows[position]] for position in positions],
            self._folder,
            label=f"encoding {other.domain.name}",
            show=self._show,
        )


def similarity_kept(before: FloatArray, after: FloatArray) -> PerQuery:
    """Return how much of the similarity of nearest neighbours an encoder keeps.

    Parameters
    ----------
    before, after : numpy.ndarray
        float32, shape (n, dim), rows of unit norm: vectors of the same contents.

    Returns
    -------
    numpy.ndarray
        float64, shape (n,): mean cosine by `before` with the ten nearest by `after`, over that
        with the ten nearest by `before`; 1 where none is lost.
    """
    reference = neighbor_cosines(before, nearest_neighbors(before))
    changed = neighbor_cosines(before, nearest_neighbors(after))
    return np.asarray(changed / np.maximum(reference, 1e-9), np.float64)


def _loader(
    load: Callable[[Iterable[int]], list[Any]], rows: Sequence[int]
) -> Callable[[Iterable[int]], list[Any]]:
    """Return a function that loads positions of some rows."""
    return lambda positions: load([rows[position] for position in positions])
