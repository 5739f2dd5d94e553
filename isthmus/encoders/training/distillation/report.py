"""What a distillation came to."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.data.table_reader import open_sources
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput, InvalidMapping
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.metrics import ndcg
from isthmus.numerics.statistics import estimate
from isthmus.numerics.top_k import top_k_of_rows
from isthmus.schema import ITEM_ID, USER_ID, Modality

LIST_LENGTH: Final = 10
MOST_USERS: Final = 2_000
RESAMPLES: Final = 2_000
Rows = npt.NDArray[np.int64]
Liked = Mapping[str, Sequence[str]]
K: Final = 10
QUERIES_AT_ONCE: Final = 512
REPETITIONS: Final = 3
TIMED: Final[dict[str, int]] = {"text": 512, "image": 32}
Found = npt.NDArray[np.int64]

REPORT: Final = "distillation.json"


@dataclass(frozen=True)
class Speed:
    """Contents a second of both, on the same contents, in one run.

    Attributes
    ----------
    contents : int
        How many were timed.
    threads : int
        Of PyTorch.
    device : str
        Where both ran.
    teacher, student : float
        Contents a second, the median of three runs.
    """

    contents: int
    threads: int
    device: str
    teacher: float
    student: float

    @property
    def ratio(self) -> float:
        """How many times as fast the student is."""
        return self.student / self.teacher


@dataclass(frozen=True)
class DistillReport:
    """What a distillation came to.

    Attributes
    ----------
    teacher, student : str
        Specs; the student's opens what was saved.
    teacher_fingerprint, student_fingerprint : str
        Of the two encoders.
    modality : {"text", "image"}
        What was distilled.
    rows_read, distinct, trained : int
        Contents given, different ones among them, and those that were learned from.
    problems : tuple of (int, str)
        Rows that could not be used, and why.
    losses : list of float
        Mean loss of each pass.
    speed : Speed
        Contents a second.
    teacher_bytes : int or None
        Size of the teacher's weights, where it tells.
    student_bytes : int
        Size of the files that were saved.
    quality : Quality
        On contents held out.
    recommendation : Recommendation or None
        Of contents held out, where it was told what users like.
    settings : dict
        As they were given.
    seconds : float
        All that it took, this time.
    """

    teacher: str
    student: str
    teacher_fingerprint: str
    student_fingerprint: str
    modality: str
    rows_read: int
    distinct: int
    trained: int
    problems: tuple[tuple[int, str], ...]
    losses: list[float]
    speed: Speed
    teacher_bytes: int | None
    student_bytes: int
    quality: Quality
    recommendation: Recommendation | None
    settings: dict[str, Any]
    seconds: float

    @property
    def size_ratio(self) -> float | None:
        """How many times as small the student is."""
        return self.teacher_bytes / self.student_bytes if self.teacher_bytes else None

    def as_dict(self) -> dict[str, Any]:
        """Give everything by name, ready for JSON."""
        return {
            **asdict(self),
            "speed": {**asdict(self.speed), "ratio": self.speed.ratio},
            "quality": self.quality.as_dict(),
            "recommendation": self.recommendation and self.recommendation.as_dict(),
            "size_ratio": self.size_ratio,
        }

    def save(self, folder: Path) -> None:
        """Write the report beside the model."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        (folder / REPORT).write_text(text + "\n", "utf-8")


@dataclass(frozen=True)
class Quality:
    """A student beside its teacher.

    Attributes
    ----------
    held_out : int
        Contents that were not trained on; they are the queries, and what is searched.
    cosine : float or None
        Mean cosine of the two vectors of a content; None where their dimensions differ.
    recall_kept : float
        Recall@10 against the teacher's own neighbours: the share of them that the student finds.
    similarity_kept : float
        Mean cosine, by the teacher, of what the student finds, divided by that of what the
        teacher finds: what the misses cost.
    labelled : int
        Contents with at least one other of their label.
    ndcg_teacher, ndcg_student : float or None
        NDCG@10 of finding contents of the same label; None without labels.
    """

    held_out: int
    cosine: float | None
    recall_kept: float
    similarity_kept: float
    labelled: int
    ndcg_teacher: float | None
    ndcg_student: float | None

    @property
    def ndcg_kept(self) -> float | None:
        """The student's NDCG@10 divided by the teacher's."""
        if not self.ndcg_teacher or self.ndcg_student is None:
            return None
        return self.ndcg_student / self.ndcg_teacher

    def as_dict(self) -> dict[str, Any]:
        """Give all figures by name."""
        return {**asdict(self), "ndcg_kept": self.ndcg_kept}


def measure_quality(
    teacher: FloatArray, student: FloatArray, labels: Sequence[str] | None = None
) -> Quality:
    """Measure what a student keeps of its teacher's searches.

    Each content searches all the others.

    Parameters
    ----------
    teacher, student : numpy.ndarray
        float32, shape (n, dim of each), rows of unit norm, of the same contents.
    labels : sequence of str, optional
        Of each content; an empty one is none.

    Examples
    --------
    >>> vectors = np.tri(12, dtype=np.float32)
    >>> measure_quality(vectors, vectors).recall_kept
    1.0
    """
    own, found = nearest(teacher), nearest(student)
    same_space = teacher.shape == student.shape
    marks = np.unique(labels, return_inverse=True)[1] if labels is not None else None
    there = np.array([bool(label) for label in labels or ()])
    scores = [None if marks is None else _ndcg(rows, marks, there) for rows in (own, found)]
    return Quality(
        held_out=len(teacher),
        cosine=float((teacher * student).sum(1).mean()) if same_space else None,
        recall_kept=recall(own, found),
        similarity_kept=_similarity(teacher, found) / _similarity(teacher, own),
        labelled=0 if marks is None else int((_others(marks, there) > 0).sum()),
        ndcg_teacher=scores[0],
        ndcg_student=scores[1],
    )


def nearest(vectors: FloatArray, k: int = K) -> Found:
    """Give the k nearest others of each row, the nearest first, shape (n, min(k, n - 1))."""
    k = min(k, len(vectors) - 1)
    parts = []
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        scores = vectors[start : start + QUERIES_AT_ONCE] @ vectors.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        parts.append(top_k_of_rows(scores, k))
    return np.concatenate(parts)


def recall(wanted: Found, found: Found) -> float:
    """Give the share of what is wanted that was found, the mean over rows.

    Examples
    --------
    >>> recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    return float((wanted[:, :, None] == found[:, None, :]).any(2).mean())


def items_a_second(
    encoder: Encoder, contents: Sequence[Any], modality: Modality, repetitions: int = REPETITIONS
) -> float:
    """Measure how many contents an encoder turns into vectors in a second: the median of runs."""
    encoder.encode(contents[:8], modality)
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        encoder.encode(contents, modality)
        seconds.append(time.perf_counter() - start)
    return len(contents) / statistics.median(seconds)


def _others(marks: Found, there: npt.NDArray[np.bool_]) -> Found:
    """Give how many others have the label of each."""
    return np.where(there, np.bincount(marks)[marks] - 1, 0)


def _ndcg(found: Found, marks: Found, there: npt.NDArray[np.bool_]) -> float | None:
    """Give the mean NDCG of those that have others, each of which is worth the same."""
    others = _others(marks, there)
    asked = others > 0
    if not asked.any():
        return None
    hits = marks[found] == marks[:, None]
    return float(ndcg(hits[asked], others[asked], found.shape[1]).mean())


def _similarity(teacher: FloatArray, found: Found) -> float:
    """Give the mean cosine of what was found, by the teacher."""
    sums = [
        float((teacher[start : start + QUERIES_AT_ONCE, None] * teacher[rows]).sum())
        for start in range(0, len(found), QUERIES_AT_ONCE)
        if len(rows := found[start : start + QUERIES_AT_ONCE])
    ]
    return sum(sums) / found.size


"""For each user the ids of the items that they liked."""


class Case(NamedTuple):
    """A user.

    Attributes
    ----------
    known : numpy.ndarray
        int64: contents that they liked, and that may be looked at.
    wanted : numpy.ndarray
        int64: contents held out that they liked, too.
    """

    known: Rows
    wanted: Rows


@dataclass(frozen=True)
class Recommendation:
    """How well contents recommend new items, by the teacher's vectors and by the student's.

    Attributes
    ----------
    users : int
        Users who liked something held out and something else, at most 2,000 of them.
    items : int
        Contents held out: what is ranked.
    ndcg_teacher, ndcg_student : float
        NDCG@10 of the order by the cosine with the mean vector of what the user liked.
    low, high : float
        95 % interval of the student's less the teacher's, users drawn anew.
    """

    users: int
    items: int
    ndcg_teacher: float
    ndcg_student: float
    low: float
    high: float

    @property
    def ndcg_kept(self) -> float | None:
        """The student's NDCG@10 divided by the teacher's; None where that finds nothing."""
        return self.ndcg_student / self.ndcg_teacher if self.ndcg_teacher else None

    def as_dict(self) -> dict[str, Any]:
        """Give all figures by name."""
        return {**asdict(self), "ndcg_kept": self.ndcg_kept}


def read_liked(interactions: Any) -> Liked:
    """Read what users liked: columns user_id and item_id, whatever else is there.

    Raises
    ------
    InvalidMapping
        If a column is absent.
    """
    liked: dict[str, list[str]] = {}
    for source in open_sources(interactions, [USER_ID, ITEM_ID]):
        for name in (USER_ID, ITEM_ID):
            if name not in source.schema.names:
                raise InvalidMapping(
                    f"{source.name} has no column {name!r}, only {', '.join(source.schema.names)}"
                )
        for batch in source.batches():
            users, items = (batch.column(name).to_pylist() for name in (USER_ID, ITEM_ID))
            for user, item in zip(users, items, strict=True):
                if user is not None and item is not None:
                    liked.setdefault(str(user), []).append(str(item))
    return liked


def find_users(liked: Liked, places: Mapping[str, int], held_out: Rows) -> list[Case]:
    """Part what each user liked into what may be looked at and what was held out.

    Parameters
    ----------
    liked : mapping of str to sequence of str
        Item ids of each user.
    places : mapping of str to int
        The content of each item.
    held_out : numpy.ndarray
        int64: contents held out.

    Raises
    ------
    InvalidInput
        If no user liked something of both.
    """
    found = []
    for items in liked.values():
        own = np.unique([places[item] for item in items if item in places]).astype(np.int64)
        out = np.isin(own, held_out)
        if out.any() and not out.all():
            found.append(Case(own[~out], own[out]))
    if not found:
        raise InvalidInput(
            "no user liked both an item that is held out and another of those given, so "
            "recommendation cannot be measured; give more interactions (their item_id are those "
            "of the contents)"
        )
    order = np.random.default_rng(0).permutation(len(found))[:MOST_USERS]
    return [found[at] for at in np.sort(order).tolist()]


def measure_recommendation(
    teacher: FloatArray, student: FloatArray, users: Sequence[Case], held_out: Rows
) -> Recommendation:
    """Rank the contents held out for each user, by the vectors of both.

    Parameters
    ----------
    teacher, student : numpy.ndarray
        float32, shape (n_contents, dim of each), rows of unit norm.
    users : sequence of Case
        For whom.
    held_out : numpy.ndarray
        int64: what is ranked.
    """
    scores = [_recommendation_ndcg(vectors, users, held_out) for vectors in (teacher, student)]
    gain = estimate(scores[1] - scores[0], resamples=RESAMPLES)
    return Recommendation(
        users=len(users),
        items=len(held_out),
        ndcg_teacher=float(scores[0].mean()),
        ndcg_student=float(scores[1].mean()),
        low=gain.low,
        high=gain.high,
    )


def _recommendation_ndcg(
    vectors: FloatArray, users: Sequence[Case], held_out: Rows
) -> npt.NDArray[np.float64]:
    offered = vectors[held_out].T
    hits = np.zeros((len(users), LIST_LENGTH), bool)
    for at, user in enumerate(users):
        order = np.argsort(-(vectors[user.known].mean(axis=0) @ offered), kind="stable")[
            :LIST_LENGTH
        ]
        hits[at, : len(order)] = np.isin(held_out[order], user.wanted)
    n_wanted = np.array([len(user.wanted) for user in users], np.int64)
    return ndcg(hits, n_wanted, LIST_LENGTH)
