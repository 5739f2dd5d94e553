"""A static student of ``local/text``: speed, size and search quality compared with its teacher.

``python benchmarks/distillation.py --out FOLDER`` (teacher vectors of some 70,000 texts: ten
minutes on two idle cores, cached under the folder; training: some minutes)

Training data: titles and category words of Arts & Crafts, Office, fashion and films, and captions.
Held out: all captions of 30 % of the photos, and the titles of a fifth of the fashion products and
of a tenth of the other items. Held-out texts are not in the training data; category words are, as
they would be in a shop.

Four tasks, NDCG@10; the relevant texts of a query are: the other captions of its photo; the fashion
titles with the same attributes (queries are titles, then attributes); the category of a title.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch

from isthmus import DistillSettings, Encoder, distill, load_encoder
from isthmus.digests import digest
from isthmus.encoders.training.cached_vectors import encode_cached
from isthmus.numerics import metrics
from isthmus.numerics.statistics import ratio_estimate
from isthmus.numerics.top_k import top_k_of_rows

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
TEACHER = "local/text"
K = 10
MIB = 2**20

Vectors = Callable[[list[str]], np.ndarray]


class Task(NamedTuple):
    """Queries and texts with labels; the texts with a query's label are relevant to it."""

    name: str
    queries: list[str]
    query_labels: list[str]
    texts: list[str]
    labels: list[str]
    exclude_self: bool


def column(folder: str, name: str, file: str = "items") -> list[str]:
    """Return the values of a column, stripped of white space."""
    values = pq.read_table(DATA / folder / f"{file}.parquet", columns=[name])[name].to_pylist()
    return [(value or "").strip() for value in values]


def is_held_out(key: str, share: float) -> bool:
    """Return whether a key is held out, by its hash."""
    return int.from_bytes(digest(key)[:4], "little") < share * 2**32


def pairs(folder: str, first: str, second: str, share: float) -> tuple[list[str], list[str]]:
    """Return two columns of the held-out items."""
    ids, a, b = (column(folder, name) for name in ("item_id", first, second))
    rows = [n for n, key in enumerate(ids) if is_held_out(key, share) and a[n] and b[n]]
    return [a[n] for n in rows], [b[n] for n in rows]


def make_tasks() -> list[Task]:
    """Make the four tasks."""
    photos, captions = (column("flickr8k_1000", n, "captions") for n in ("image", "caption"))
    rows = [n for n, photo in enumerate(photos) if is_held_out(photo, 0.3)]
    texts, caption_photos = [captions[n] for n in rows], [photos[n] for n in rows]
    fashion, attributes = pairs("fashion_products", "title", "attributes", 0.2)
    fashion_labels = sorted(set(attributes))
    titles, words = pairs("amazon_arts_office", "title", "attributes", 0.1)
    categories = sorted(set(words))
    return [
        Task("caption -> caption", texts, caption_photos, texts, caption_photos, True),
        Task("title -> title, fashion", fashion, attributes, fashion, attributes, True),
        Task(
            "attributes -> title, fashion",
            fashion_labels,
            fashion_labels,
            fashion,
            attributes,
            False,
        ),
        Task("title -> category, shops", titles, words, categories, categories, False),
    ]


def training_texts(tasks: list[Task]) -> list[str]:
    """Return all texts except the held-out captions and titles."""
    films = column("movielens_posters", "title")
    everything = [
        *column("flickr8k_1000", "caption", "captions"),
        *(text for name in ("title", "attributes") for text in column("fashion_products", name)),
        *(text for name in ("title", "attributes") for text in column("amazon_arts_office", name)),
        *films,
        *column("movielens_posters", "genres"),
    ]
    held_out_texts = {text for task in (tasks[0], tasks[1]) for text in task.texts} | set(
        tasks[3].queries
    )
    return [text for text in dict.fromkeys(everything) if text and text not in held_out_texts]


def nearest_texts(queries: np.ndarray, texts: np.ndarray, exclude_self: bool) -> np.ndarray:
    """Return the ten nearest texts of each query, the nearest first."""
    nearest = []
    for start in range(0, len(queries), 512):
        scores = queries[start : start + 512] @ texts.T
        if exclude_self:
            rows = np.arange(len(scores))
            scores[rows, start + rows] = -np.inf
        nearest.append(top_k_of_rows(scores, K))
    return np.concatenate(nearest)


def ndcg(task: Task, nearest: np.ndarray) -> np.ndarray:
    """Return NDCG@10 of each query that has a relevant text."""
    names, labels = np.unique(task.labels, return_inverse=True)
    query_codes = np.searchsorted(names, task.query_labels)
    n_relevant = np.bincount(labels, minlength=len(names))[query_codes] - task.exclude_self
    has_relevant = n_relevant > 0
    hits = labels[nearest[has_relevant]] == query_codes[has_relevant, None]
    return metrics.ndcg(hits, n_relevant[has_relevant], K)


def compare_quality(tasks: list[Task], teacher: Vectors, students: dict[str, Vectors]) -> None:
    """Print NDCG@10 of the teacher, and the share of it that students keep."""
    print(f"\n{'task':<30}{'queries':>8}{'':>2}{'':<26}{'NDCG@10':>8}{'kept':>8}{'recall@10':>10}")
    retained: dict[str, list[float]] = {name: [] for name in students}
    for task in tasks:
        teacher_nearest = nearest_texts(
            teacher(task.queries), teacher(task.texts), task.exclude_self
        )
        scores = ndcg(task, teacher_nearest)
        print(f"{task.name:<30}{len(scores):>8}  {'teacher':<26}{scores.mean():>8.4f}")
        for name, student in students.items():
            student_nearest = nearest_texts(
                student(task.queries), student(task.texts), task.exclude_self
            )
            student_scores = ndcg(task, student_nearest)
            neighbor_recall = (
                (teacher_nearest[:, :, None] == student_nearest[:, None, :]).any(2).mean()
            )
            retained[name].append(student_scores.mean() / scores.mean())
            ratio = ratio_estimate(student_scores, scores, resamples=1_000)
            low, high = (ratio.low, ratio.high) if ratio else (np.nan, np.nan)
            print(
                f"{'':<40}{name:<26}{student_scores.mean():>8.4f}{retained[name][-1]:>8.1%}{neighbor_recall:>10.3f}"
                f"  95 % of kept: {low:.1%} to {high:.1%}"
            )
    for name, shares in retained.items():
        print(f"{name}: mean kept {np.mean(shares):.1%}, minimum {min(shares):.1%}")


def compare_speed(texts: list[str], folder: Path, repetitions: int) -> None:
    """Time teacher, student and the code of model2vec in turn on the same texts."""
    from model2vec import StaticModel

    teacher, peer = load_encoder(TEACHER, device="cpu"), StaticModel.from_pretrained(folder)
    student = load_encoder(f"static/{folder}", device="cpu")
    cold: list[float] = []

    def first_time() -> Any:
        fresh = load_encoder(f"static/{folder}", device="cpu")
        start = time.perf_counter()
        fresh.encode(texts)
        cold.append(time.perf_counter() - start)

    methods: dict[str, Callable[[], Any]] = {
        "teacher": lambda: teacher.encode(texts),
        "student": lambda: student.encode(texts),
        "student, words never seen": first_time,
        "model2vec on the same folder": lambda: peer.encode(texts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    teacher.encode(texts[:64])
    student.encode(texts)
    for _ in range(repetitions):
        for name, encode in methods.items():
            start = time.perf_counter()
            encode()
            seconds[name].append(time.perf_counter() - start)
    seconds["student, words never seen"] = cold
    print(
        f"\n{len(texts):,} held-out texts, {torch.get_num_threads()} threads of PyTorch, "
        f"{os.environ.get('RAYON_NUM_THREADS', 'all')} of the tokenizer, CPU, "
        f"median of {repetitions}"
    )
    teacher_seconds = statistics.median(seconds["teacher"])
    for name, runs in seconds.items():
        rate = len(texts) / statistics.median(runs)
        spread = f"{len(texts) / max(runs):,.0f} to {len(texts) / min(runs):,.0f}"
        times = teacher_seconds / statistics.median(runs)
        print(f"{name:<30}{rate:>12,.0f} texts/s{spread:>22}{times:>8.1f} x the teacher")


def main() -> None:
    """Distil a student, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the student")
    parser.add_argument("--epochs", type=int, default=DistillSettings.epochs)
    parser.add_argument("--storage", default=DistillSettings.storage)
    parser.add_argument("--timed", type=int, default=2_000, help="texts to time on")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    tasks = make_tasks()
    training_data = training_texts(tasks)
    settings = DistillSettings(epochs=arguments.epochs, storage=arguments.storage, held_out=0.02)
    untrained = replace(settings, epochs=0)
    distill(TEACHER, "static", training_data, arguments.out, settings=untrained, progress=True)
    untrained_student = load_encoder(f"static/{arguments.out}", device="cpu")
    report = distill(
        TEACHER, "static", training_data, arguments.out, settings=settings, progress=True
    )
    print(f"{report.trained:,} texts, {arguments.epochs} passes, {report.seconds:.0f} s this time")
    print(f"size: {report.student_bytes / MIB:.1f} MiB; teacher {report.teacher_bytes / MIB:.1f}")
    print(f"2 % of the texts, held out: {report.quality}")
    teacher, student = load_encoder(TEACHER, device="cpu"), load_encoder(report.student)
    texts = [text for task in tasks for text in task.texts]
    order = np.random.default_rng(0).permutation(len(texts))
    compare_speed(
        [texts[n] for n in order[: arguments.timed]], arguments.out, arguments.repetitions
    )
    compare_quality(
        tasks,
        lambda texts: teacher_vectors(teacher, texts, arguments.out),
        {"student, not trained": untrained_student.encode, "student": student.encode},
    )


def teacher_vectors(teacher: Encoder, texts: list[str], out: Path) -> np.ndarray:
    """Return the teacher's vectors, encoded once and cached."""
    return encode_cached(
        teacher,
        "text",
        [digest(text) for text in texts],
        lambda rows: [texts[row] for row in rows],
        out / "work",
    )


if __name__ == "__main__":
    main()
