"""Quality of a student beside its teacher: search, recommendation, speed, and the report."""

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

from isthmus.data.inputs import open_typed
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.training.retrieval_quality import (
    LabelRelevance,
    Rows,
    nearest_neighbors,
    neighbor_cosines,
    neighbor_recall,
    search_quality,
)
from isthmus.errors import InvalidInput, InvalidMapping, listed
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.metrics import ndcg
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.schema import ITEM_ID, USER_ID, Modality

REPORT: Final = "distillation.json"
K: Final = 10
MAX_USERS: Final = 2_000
TIMED: Final[dict[str, int]] = {"text": 512, "image": 32}
REPETITIONS: Final = 3

UserItems = Mapping[str, Sequence[str]]
"""For each user the ids of the items that they liked."""


@dataclass(frozen=True)
class Quality:
    """Search quality of a student beside its teacher, on held-out contents.

    Attributes
    ----------
    held_out : int
        Number of contents that were not trained on: the queries, and what is searched.
    cosine : float or None
        Mean cosine of the two vectors of a content; None where their dimensions differ.
    recall_kept : float
        Recall@10 of the teacher's nearest neighbours.
    similarity_kept : float
        Mean teacher cosine with the student's neighbours, divided by that with the teacher's own:
        what the misses cost.
    labelled : int
        Contents with at least one other of their label.
    ndcg_teacher, ndcg_student : float or None
        NDCG@10 of retrieving contents of the same label; None without labels.
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
        """Return all figures by name."""
        return {**asdict(self), "ndcg_kept": self.ndcg_kept}


def measure_quality(
    teacher: FloatArray, student: FloatArray, labels: Sequence[str] | None = None
) -> Quality:
    """Measure what a student keeps of its teacher's searches; each content searches the others.

    Parameters
    ----------
    teacher, student : numpy.ndarray
        float32, shape (n, dim of each), rows of unit norm, of the same contents.
    labels : sequence of str, optional
        Label of each content; an empty one is none.

    Examples
    --------
    >>> vectors = np.tri(12, dtype=np.float32)
    >>> measure_quality(vectors, vectors).recall_kept
    1.0
    """
    neighbors, student_neighbors = nearest_neighbors(teacher), nearest_neighbors(student)
    student_similarity = neighbor_cosines(teacher, student_neighbors).mean()
    same_space = teacher.shape == student.shape
    relevance = None if labels is None else LabelRelevance(labels)
    labelled = 0 if relevance is None else int((relevance.counts > 0).sum())
    ndcgs: list[float | None] = [None, None]
    if relevance is not None and labelled:
        ndcgs = [float(search_quality(v, relevance).ndcg.mean()) for v in (teacher, student)]
    return Quality(
        held_out=len(teacher),
        cosine=float((teacher * student).sum(1).mean()) if same_space else None,
        recall_kept=neighbor_recall(neighbors, student_neighbors),
        similarity_kept=float(student_similarity / neighbor_cosines(teacher, neighbors).mean()),
        labelled=labelled,
        ndcg_teacher=ndcgs[0],
        ndcg_student=ndcgs[1],
    )


class UserCase(NamedTuple):
    """A user of the recommendation test.

    Attributes
    ----------
    history : numpy.ndarray
        int64: contents they liked that were not held out.
    relevant : numpy.ndarray
        int64: held-out contents they liked.
    """

    history: Rows
    relevant: Rows


@dataclass(frozen=True)
class Recommendation:
    """Content-based recommendation of new items by the vectors of teacher and student.

    Attributes
    ----------
    users : int
        Users who liked a held-out content and another one, at most 2,000 of them.
    items : int
        Held-out contents, which are ranked.
    ndcg_teacher, ndcg_student : float
        NDCG@10 of ranking by the cosine with the mean vector of the user's history.
    low, high : float
        95 % bootstrap interval over users of the student's minus the teacher's.
    """

    users: int
    items: int
    ndcg_teacher: float
    ndcg_student: float
    low: float
    high: float

    @property
    def ndcg_kept(self) -> float | None:
        """The student's NDCG@10 divided by the teacher's; None where the teacher's is 0."""
        return self.ndcg_student / self.ndcg_teacher if self.ndcg_teacher else None

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name."""
        return {**asdict(self), "ndcg_kept": self.ndcg_kept}


def read_user_items(interactions: Any) -> UserItems:
    """Read the items of each user from the columns user_id and item_id.

    Raises
    ------
    InvalidMapping
        If a column is absent.
    """
    user_items: dict[str, list[str]] = {}
    for source in open_typed(interactions, [USER_ID, ITEM_ID]):
        for name in (USER_ID, ITEM_ID):
            if name not in source.schema.names:
                raise InvalidMapping(
                    f"{source.name} has no column {name!r}, only {listed(source.schema.names)}"
                )
        for batch in source.batches():
            users, items = (batch.column(name).to_pylist() for name in (USER_ID, ITEM_ID))
            for user, item in zip(users, items, strict=True):
                if user is not None and item is not None:
                    user_items.setdefault(str(user), []).append(str(item))
    return user_items


def split_users(
    user_items: UserItems, item_rows: Mapping[str, int], held_out: Rows
) -> list[UserCase]:
    """Split the items of each user into a history and held-out ones.

    Parameters
    ----------
    user_items : mapping of str to sequence of str
        Item ids of each user.
    item_rows : mapping of str to int
        The content of each item.
    held_out : numpy.ndarray
        int64: held-out contents.

    Raises
    ------
    InvalidInput
        If no user has items of both kinds.
    """
    cases = []
    for items in user_items.values():
        rows = np.unique([item_rows[item] for item in items if item in item_rows])
        rows = rows.astype(np.int64)
        out = np.isin(rows, held_out)
        if out.any() and not out.all():
            cases.append(UserCase(rows[~out], rows[out]))
    if not cases:
        raise InvalidInput(
            "no user liked both an item that is held out and another of those given, so "
            "recommendation cannot be measured; give more interactions (their item_id are those "
            "of the contents)"
        )
    sample = np.random.default_rng(0).permutation(len(cases))[:MAX_USERS]
    return [cases[number] for number in np.sort(sample).tolist()]


def measure_recommendation(
    teacher: FloatArray, student: FloatArray, users: Sequence[UserCase], held_out: Rows
) -> Recommendation:
    """Rank the held-out contents for each user by the vectors of both encoders.

    Parameters
    ----------
    teacher, student : numpy.ndarray
        float32, shape (n_contents, dim of each), rows of unit norm.
    users : sequence of UserCase
        Histories, and relevant contents.
    held_out : numpy.ndarray
        int64: the contents that are ranked.
    """
    before, after = (_ndcg_of_users(vectors, users, held_out) for vectors in (teacher, student))
    low, high = interval(resampled_means((after - before)[:, None])[:, 0])
    return Recommendation(
        users=len(users),
        items=len(held_out),
        ndcg_teacher=float(before.mean()),
        ndcg_student=float(after.mean()),
        low=low,
        high=high,
    )


def _ndcg_of_users(
    vectors: FloatArray, users: Sequence[UserCase], held_out: Rows
) -> npt.NDArray[np.float64]:
    candidates = vectors[held_out].T  # (dim, n_held_out)
    hits = np.zeros((len(users), min(K, len(held_out))), bool)
    for row, user in zip(hits, users, strict=True):
        scores = vectors[user.history].mean(axis=0) @ candidates
        top = held_out[np.argsort(-scores, kind="stable")[:K]]
        row[:] = np.isin(top, user.relevant)
    return ndcg(hits, np.array([len(user.relevant) for user in users]), K)


def contents_per_second(
    encoder: Encoder, contents: Sequence[Any], modality: Modality, repetitions: int = REPETITIONS
) -> float:
    """Return how many contents an encoder encodes in a second: the median of several runs."""
    encoder.encode(contents[:8], modality)  # warm up
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        encoder.encode(contents, modality)
        seconds.append(time.perf_counter() - start)
    return len(contents) / statistics.median(seconds)


@dataclass(frozen=True)
class Speed:
    """Encoding speed of both on the same contents, in one run.

    Attributes
    ----------
    contents : int
        Number of contents that were timed.
    threads : int
        Threads of PyTorch.
    device : str
        Device of both.
    teacher, student : float
        Contents per second, the median of three runs.
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
    """Report of a distillation.

    Attributes
    ----------
    teacher, student : str
        Specs; the student's opens what was saved.
    teacher_fingerprint, student_fingerprint : str
        Fingerprints of the two encoders.
    modality : {"text", "image"}
        What was distilled.
    rows_read, distinct, trained : int
        Contents given, distinct ones among them, and those that were trained on.
    problems : tuple of (int, str)
        Rows that could not be used, and why.
    losses : list of float
        Mean loss of each epoch.
    speed : Speed
        Contents per second.
    teacher_bytes : int or None
        Size of the teacher's weights, where it is known.
    student_bytes : int
        Size of the files that were saved.
    quality : Quality
        Search quality on held-out contents.
    recommendation : Recommendation or None
        Recommendation of held-out contents, where interactions were given.
    settings : dict
        Hyperparameters.
    seconds : float
        Duration of this run.
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
        """Return everything by name, ready for JSON."""
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
