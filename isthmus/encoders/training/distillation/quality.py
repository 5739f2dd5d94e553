"""What is lost and what is gained: a student beside its teacher on contents held out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

K: Final = 10
AT_ONCE: Final = 512
REPETITIONS: Final = 3
TIMED: Final[dict[str, int]] = {"text": 512, "image": 32}

Found = npt.NDArray[np.int64]


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
    ndcg = [None if marks is None else _ndcg(rows, marks, there) for rows in (own, found)]
    return Quality(
        held_out=len(teacher),
        cosine=float((teacher * student).sum(1).mean()) if same_space else None,
        recall_kept=recall(own, found),
        similarity_kept=_similarity(teacher, found) / _similarity(teacher, own),
        labelled=0 if marks is None else int((_others(marks, there) > 0).sum()),
        ndcg_teacher=ndcg[0],
        ndcg_student=ndcg[1],
    )


def nearest(vectors: FloatArray, k: int = K) -> Found:
    """Give the k nearest others of each row, the nearest first, shape (n, min(k, n - 1))."""
    k = min(k, len(vectors) - 1)
    parts = []
    for start in range(0, len(vectors), AT_ONCE):
        scores = vectors[start : start + AT_ONCE] @ vectors.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        parts.append(np.take_along_axis(top, order, 1))
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
    gains = 1 / np.log2(np.arange(2, found.shape[1] + 2))
    reached = ((marks[found] == marks[:, None]) * gains).sum(1)
    best = np.cumsum(gains)[np.minimum(others[asked], len(gains)) - 1]
    return float((reached[asked] / best).mean())


def _similarity(teacher: FloatArray, found: Found) -> float:
    """Give the mean cosine of what was found, by the teacher."""
    sums = [
        float((teacher[start : start + AT_ONCE, None] * teacher[rows]).sum())
        for start in range(0, len(found), AT_ONCE)
        if len(rows := found[start : start + AT_ONCE])
    ]
    return sum(sums) / found.size
