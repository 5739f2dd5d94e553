"""What differential privacy costs: NDCG@10 of private trainings by epsilon.

``python benchmarks/privacy.py --items items.parquet --protocols FOLDER ... --epsilon 1 3 10 inf``

For every protocol folder (see `read_protocol`) a private recommender is trained on the train table
for each epsilon, and ranks for the validation users; the test split is never read. ``inf`` is the
same training without noise. ``--reference`` trains the default recommender, which is not private,
too. Protocols with the same train table share a training. Vectors of items are the leading
components of the TF-IDF vectors of their texts (all columns but ids), so that no encoder is needed.
Noise differs from run to run: ``--runs 3`` has the mean of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common.tables import print_table

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.evaluation.task import Task, read_protocol
from isthmus.files import checksum
from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import ndcg
from isthmus.numerics.svd import truncated_svd
from isthmus.privacy.accountant import Mechanism
from isthmus.privacy.statistics import mechanisms_for
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.tfidf import TfidfVocabulary
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.private_training import train_private
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.train import train_recommender
from isthmus.schema import DOMAIN, ITEM_ID, WEIGHT

CUTOFF, DIM, DEPTH, BATCH = 10, 128, 200, 200
NO_NOISE = 1e-9
SETTINGS = RecommenderSettings()


def items_of(file: Path) -> tuple[pa.Table, InMemoryItemFeatures]:
    """Return the items, and their features."""
    items = pq.read_table(file)
    described = [name for name in items.column_names if name not in (ITEM_ID, DOMAIN, "image")]
    texts = [
        " ".join(str(value) for value in row.values() if value is not None)
        for row in items.select(described).to_pylist()
    ]
    words = TfidfVocabulary.fit(texts).transform(texts)
    vectors = np.asarray(words @ truncated_svd(words, DIM).vectors, np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return items, InMemoryItemFeatures(vectors, ("text",), texts)


def training_data(items: pa.Table, features: InMemoryItemFeatures, task: Task) -> TrainingData:
    """Return the training data of a protocol."""
    ids = items.column(ITEM_ID).to_pylist()
    names, codes = np.unique(np.array(items.column(DOMAIN).to_pylist()), return_inverse=True)
    place = {name: at for at, name in enumerate(ids)}
    table = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
    matrix = InteractionMatrix.from_table(
        table, lambda found: np.array([place.get(name, -1) for name in found]), len(ids)
    )
    return TrainingData(
        item_ids=np.array(ids, object),
        domain_names=tuple(map(str, names)),
        domains=codes.astype(np.int64),
        features=features,
        interactions=matrix,
    )


def quality(recommender: Recommender, data: TrainingData, task: Task) -> float:
    """Return NDCG@10 of the users of a task."""
    place = {name: at for at, name in enumerate(data.item_ids.tolist())}

    def columns(names: Sequence[str]) -> Columns:
        return np.array([place[name] for name in names if name in place], np.int64)

    allowed = np.zeros(len(data), bool)
    allowed[columns(task.candidates)] = True
    scores = []
    for start in range(0, len(task.users), BATCH):
        users = task.users[start : start + BATCH]
        histories = UserHistories.from_lists([columns(user.history) for user in users])
        ranked = recommender.rank(data, histories, str(task.target_domain), allowed, depth=DEPTH)
        hits = np.zeros((len(users), CUTOFF), bool)
        for row, user in enumerate(users):
            best, _ = ranked.best(row, CUTOFF + len(user.exclude))
            listed = best[~np.isin(best, columns(user.exclude))][:CUTOFF]
            hits[row, : len(listed)] = np.isin(listed, columns(user.truth))
        counts = np.array([len(user.truth) for user in users])
        scores.append(ndcg(hits, counts, CUTOFF))
    return float(np.concatenate(scores).mean())


def mechanisms(epsilon: float, delta: float) -> list[Mechanism]:
    """Return the mechanisms of a budget; of an infinite one next to no noise."""
    if np.isfinite(epsilon):
        return mechanisms_for(epsilon, delta)
    return [
        one.model_copy(update={"noise_multiplier": NO_NOISE}) for one in mechanisms_for(1.0, delta)
    ]


def recommenders(
    data: TrainingData, targets: Sequence[str], arguments: argparse.Namespace
) -> Iterator[tuple[str, Recommender]]:
    """Yield what is measured, by name."""
    for epsilon in arguments.epsilon:
        for _ in range(arguments.runs if np.isfinite(epsilon) else 1):
            noise = mechanisms(epsilon, arguments.delta)
            trained = train_private(data, SETTINGS, noise, targets)
            yield f"epsilon {epsilon:g}", trained.recommender
    if arguments.reference:
        public = replace(data, targets=tuple(targets))
        yield "not private", train_recommender(public, SETTINGS, targets).recommender


def main() -> None:
    """Measure the protocols that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--protocols", type=Path, nargs="+", required=True)
    parser.add_argument("--epsilon", type=float, nargs="*", default=[1.0, 3.0, 10.0, np.inf])
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--reference", action="store_true")
    arguments = parser.parse_args()
    items, features = items_of(arguments.items)
    together: dict[str, list[Path]] = {}
    for folder in arguments.protocols:
        together.setdefault(checksum(folder / "train.parquet"), []).append(folder)
    for folders in together.values():
        tasks = [read_protocol(folder, "val") for folder in folders]
        data = training_data(items, features, tasks[0])
        targets = list(dict.fromkeys(str(task.target_domain) for task in tasks))
        found: dict[str, list[list[float]]] = {}
        start = time.process_time()
        for name, recommender in recommenders(data, targets, arguments):
            row = [quality(recommender, data, task) for task in tasks]
            found.setdefault(name, []).append(row)
            print(name, *(f"{value:.4f}" for value in row), flush=True)
        print(f"{len(data.interactions.users):,} users, {time.process_time() - start:.0f} s")
        print_table(
            ("training", *(folder.name for folder in folders)),
            [
                [name, *(f"{value:.4f}" for value in np.mean(rows, axis=0))]
                for name, rows in found.items()
            ],
        )


if __name__ == "__main__":
    main()
