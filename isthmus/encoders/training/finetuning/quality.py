"""How well contents find those that they belong with: before, after, and how sure that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.training.cached_vectors import teacher_vectors
from isthmus.encoders.training.distillation.inputs import Contents, gather_contents
from isthmus.encoders.training.finetuning.pairs import (
    LEARNING,
    ContentPairs,
    Pairs,
    Rows,
    draw_parts,
    keys_by_pairs,
    pairs_within,
)
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.metrics import ndcg, recall
from isthmus.numerics.statistics import estimate, interval, resampled_means
from isthmus.numerics.top_k import top_k_of_rows
from isthmus.schema import MODALITIES

Measure = Literal["pairs", "labels", "neighbours"]
TARGET = "target"

CHOOSING_SHARE: Final = 0.2
MEASURING_SHARE: Final = 0.3
MOST_CHOOSING: Final = 1_000  # they are encoded for every choice there is
MOST_MEASURING: Final = 2_500
MOST_ANCHORS: Final = 1_000
FEW_ALIKE: Final = 20  # texts a label, up to which those of one label are kept together

K: Final = 10
AT_ONCE: Final = 512
RESAMPLES: Final = 1_000

Figures = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Truth(ABC):
    """What belongs together among some contents."""

    answers: Rows
    """How many others belong to each content, shape (n,)."""

    @abstractmethod
    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which of what was found, shape (n, k), belongs to the query of its row."""


class PairTruth(Truth):
    """Contents that belong together by pairs.

    Parameters
    ----------
    count : int
        How many contents there are.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """

    def __init__(self, count: int, pairs: Pairs) -> None:
        self._count = count
        both = np.concatenate([pairs, pairs[:, ::-1]])
        self._known = np.unique(both[:, 0] * count + both[:, 1])
        self.answers = np.bincount(self._known // max(count, 1), minlength=count)

    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which are pairs."""
        return np.isin(queries[:, None] * self._count + found, self._known)


class LabelTruth(Truth):
    """Contents that belong together by a label; an empty one is none."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._marks = np.unique(np.array(labels, np.str_), return_inverse=True)[1]
        there = np.array([bool(label) for label in labels], bool)
        self.answers = np.where(there, np.bincount(self._marks)[self._marks] - 1, 0)

    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which have the same label."""
        return np.asarray(self._marks[found] == self._marks[queries][:, None])


@dataclass(frozen=True, eq=False)
class Found:
    """What each query was worth.

    Attributes
    ----------
    ndcg, recall : numpy.ndarray
        float64, shape (n_queries,): NDCG@10 and recall@10.
    """

    ndcg: Figures
    recall: Figures


def search_all(vectors: FloatArray, truth: Truth, sides: Rows | None = None) -> Found:
    """Let each content that belongs to another search the others, and see what is found.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), rows of unit norm.
    truth : Truth
        What belongs together.
    sides : numpy.ndarray, optional
        Shape (n,): a content searches only those of another side; by default all the others.

    Examples
    --------
    >>> vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    >>> search_all(vectors, PairTruth(4, np.array([[0, 1]]))).ndcg.tolist()
    [1.0, 1.0]
    """
    queries = np.flatnonzero(truth.answers)
    found = nearest_of(vectors, queries, sides)
    hits = truth.hits(queries, found)
    answers = truth.answers[queries]
    return Found(ndcg(hits, answers, K), recall(hits, answers, K))


def nearest_of(vectors: FloatArray, queries: Rows, sides: Rows | None = None) -> Rows:
    """Give the nearest others of some rows, the nearest first, shape (n_queries, at most K)."""
    k = min(K, len(vectors) - 1)
    parts = [np.empty((0, k), np.int64)]
    for start in range(0, len(queries), AT_ONCE):
        own = queries[start : start + AT_ONCE]
        scores = vectors[own] @ vectors.T
        if sides is not None:
            scores[sides[own][:, None] == sides] = -np.inf
        scores[np.arange(len(own)), own] = -np.inf
        parts.append(top_k_of_rows(scores, k))
    return np.concatenate(parts)


def similarity_kept(before: FloatArray, after: FloatArray) -> Figures:
    """Give what the neighbours found after are worth by the vectors of before.

    Returns
    -------
    numpy.ndarray
        float64, shape (n,): for each content the mean cosine, before, with the ten nearest of
        after over that with its ten nearest of before; 1 where none is lost.
    """
    rows = np.arange(len(before))
    near, found = nearest_of(before, rows), nearest_of(after, rows)
    own, new = (_mean_cosines(before, own) for own in (near, found))
    return np.asarray(new / np.maximum(own, 1e-9), np.float64)


@dataclass(frozen=True)
class Interval:
    """A figure, with the bounds that hold 95 % of what resampling the queries gives.

    Attributes
    ----------
    value, low, high : float
        The figure and its bounds.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def mean_of(figures: Figures, seed: int = 0) -> Interval:
    """Give the mean over queries."""
    return Interval(*estimate(figures, resamples=RESAMPLES, seed=seed))


def ratio_of(after: Figures, before: Figures, seed: int = 0) -> Interval:
    """Give the mean after over the mean before, the queries of both drawn together.

    Examples
    --------
    >>> ratio_of(np.array([0.2, 0.4]), np.array([0.1, 0.2])).low
    2.0
    """
    means = resampled_means(np.stack([after, before], axis=1), RESAMPLES, seed)
    ratio = float(after.mean() / max(before.mean(), 1e-12))
    return Interval(ratio, *interval(means[:, 0] / np.maximum(means[:, 1], 1e-12)))


def _mean_cosines(vectors: FloatArray, found: Rows) -> Figures:
    parts = [
        np.einsum("nd,nkd->nk", vectors[start : start + AT_ONCE], vectors[rows]).mean(1)
        for start in range(0, len(found), AT_ONCE)
        if len(rows := found[start : start + AT_ONCE])
    ]
    return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True)
class OtherDomain:
    """Texts of another domain, and what belongs together there.

    Attributes
    ----------
    name : str
        What the report calls it.
    texts : list of str
        Its texts.
    labels : list of str, optional
        Of each text, empty where it has none: texts of one label belong together.
    pairs : numpy.ndarray, optional
        int64, shape (n_pairs, 2): rows of texts that belong together, in the place of labels.
        With neither, what was near before is what should be near.
    """

    name: str
    texts: list[str]
    labels: list[str] | None = None
    pairs: Pairs | None = None


@dataclass(frozen=True, eq=False)
class DividedDomain:
    """Another domain with its texts divided: to hold on to, to choose on, to measure on.

    Attributes
    ----------
    domain : OtherDomain
        The domain, each text of it once.
    digests : list of bytes
        Of each text.
    parts : numpy.ndarray
        int64, shape (n_texts,): see `draw_parts`.
    """

    domain: OtherDomain
    digests: list[bytes] = field(repr=False)
    parts: Rows = field(repr=False)

    @property
    def anchors(self) -> list[str]:
        """The texts to hold on to, at most `MOST_ANCHORS`, drawn by their digests."""
        rows = sorted(self.rows(LEARNING).tolist(), key=lambda row: self.digests[row])
        return [self.domain.texts[row] for row in rows[:MOST_ANCHORS]]

    def rows(self, part: int) -> Rows:
        """Give the texts of a part."""
        return np.flatnonzero(self.parts == part)

    def truth(self, part: int) -> Truth | None:
        """Tell what belongs together among the texts of a part; None where nothing is known."""
        rows = self.rows(part)
        if self.domain.pairs is not None:
            places = np.full(len(self.parts), -1)
            places[rows] = np.arange(len(rows))
            own = pairs_within(self.domain.pairs, self.parts, part)
            return PairTruth(len(rows), places[own])
        if self.domain.labels is not None:
            return LabelTruth([self.domain.labels[row] for row in rows])
        return None


def divide_domain(domain: OtherDomain, seed: int) -> DividedDomain:
    """Divide another domain, each text once."""
    domain = _distinct_texts(domain)
    digests = [digest(text) for text in domain.texts]
    keys = _split_keys(domain, digests)
    count = max(len(digests), 1)
    shares = (
        min(CHOOSING_SHARE, MOST_CHOOSING / count),
        min(MEASURING_SHARE, MOST_MEASURING / count),
    )
    return DividedDomain(domain, digests, draw_parts(keys, *shares, seed))


def gather_domains(
    given: Sequence[Any], text: str | None = None, label: str | None = None
) -> list[OtherDomain]:
    """Read other domains, each from a file or whatever else holds rows or texts.

    Parameters
    ----------
    given : sequence
        `OtherDomain`, or what `gather_contents` takes.
    text, label : str, optional
        Template of the text; column of the label.
    """
    names: dict[str, int] = {}
    found = []
    for number, one in enumerate(given):
        if isinstance(one, OtherDomain):
            found.append(one)
            continue
        contents: Contents = gather_contents(one, "text", text, label)
        name = Path(one).stem if isinstance(one, (str, Path)) else f"other {number + 1}"
        names[name] = names.get(name, 0) + 1
        name = f"{name} {names[name]}" if names[name] > 1 else name
        found.append(OtherDomain(name, contents.values, contents.labels))
    return found


def _distinct_texts(domain: OtherDomain) -> OtherDomain:
    place: dict[str, int] = {}
    own = np.array([place.setdefault(text, len(place)) for text in domain.texts], np.int64)
    first = np.unique(own, return_index=True)[1]
    labels = None if domain.labels is None else [domain.labels[at] for at in first]
    pairs = domain.pairs
    if pairs is not None:
        pairs = np.unique(np.sort(own[pairs], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return OtherDomain(domain.name, list(place), labels, pairs)


def _split_keys(domain: OtherDomain, digests: list[bytes]) -> list[bytes]:
    if domain.pairs is not None:
        return keys_by_pairs(digests, domain.pairs)
    labels = domain.labels
    if labels is not None and len(labels) <= FEW_ALIKE * len(set(labels)):
        return [label.encode() or own for label, own in zip(labels, digests, strict=True)]
    return digests


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
