"""Whom to tell about an item: recall of the users who took it, against simpler orders.

``python benchmarks/item_users.py --space S --protocol warm_A warm_B``

For every protocol folder (see `read_protocol`) the candidate generators are fitted to the train
table. Each item that some validation users hid is a query, and the validation users who do not
know it are ranked: by `score_users` with the related items of the generators that it uses, with
those of one alone (item-KNN among them), by the length of their histories, and at random. The
test split is never read. Recall and NDCG are means over items, with 95 % intervals; the ratio is
that to item-KNN, by item.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from common.tables import print_table

from isthmus import Space
from isthmus.evaluation.task import Task, read_protocol
from isthmus.numerics.metrics import ndcg, recall
from isthmus.numerics.statistics import compare, estimate, ratio_estimate
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.item_users import COMPARING, related_items, score_users
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.schema import WEIGHT

MIN_USERS = 2  # who hid an item that is a query
CUTOFFS = (10, 50)


def measure(space: Space, folder: Path, powers: list[float], items: int) -> None:
    """Print the table of a protocol."""
    task = read_protocol(folder, "val")
    train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
    data = space_training_data(space.opened.view(), space.opened.vector_weights, train)
    data = replace(data, targets=(str(task.target_domain),))
    start = time.process_time()
    chosen = [g for g in RecommenderSettings().make_generators() if g.name in COMPARING]
    generators = CandidateGenerators(chosen).fit(data)
    fitted = time.process_time() - start
    orders: dict[str, tuple[str, ...]] = {
        "all": COMPARING,
        "all by interactions": COMPARING[:3],
        **{name: (name,) for name in COMPARING},
    }
    scores, hidden, known = score(task, data, generators, orders, powers, items)
    found = {name: ranked(of, hidden, known) for name, of in scores.items()}
    n_relevant = hidden.sum(axis=1)
    values = {
        name: {
            **{f"recall@{k}": recall(hits, n_relevant, k) for k in CUTOFFS},
            "ndcg@10": ndcg(hits, n_relevant, 10),
        }
        for name, hits in found.items()
    }
    baseline = f"item-KNN, power {powers[0]:g}"
    tests = compare({name: of["recall@50"] for name, of in values.items()}, baseline)
    print(f"\n{task.name}: {len(hidden)} items, {hidden.shape[1]} users, fit {fitted:.0f} s")
    rows = []
    for name, of in values.items():
        cells = [name]
        for metric in of.values():
            one = estimate(metric)
            cells.append(f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]")
        ratio = ratio_estimate(of["recall@50"], values[baseline]["recall@50"])
        cells.append(
            "" if ratio is None else f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        )
        cells.append(f"{tests[name].p_value:.4f}" if name in tests else "")
        rows.append(cells)
    metrics = next(iter(values.values()))
    print_table(["order", *metrics, "recall@50 to item-KNN", "p"], rows)


def score(
    task: Task,
    data: TrainingData,
    generators: CandidateGenerators,
    orders: dict[str, tuple[str, ...]],
    powers: list[float],
    items: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the scores of every order, and who hid and who knew an item, (n_items, n_users)."""
    place = {name: at for at, name in enumerate(data.item_ids.tolist())}
    n_users = len(task.users)
    hidden = np.zeros((len(data), n_users), bool)
    known = np.zeros((len(data), n_users), bool)
    for at, user in enumerate(task.users):
        hidden[[place[item] for item in user.truth if item in place], at] = True
        known[[place[item] for item in (*user.history, *user.exclude) if item in place], at] = True
    histories = UserHistories.from_lists(
        [np.array([place[i] for i in u.history if i in place], np.int64) for u in task.users]
    ).rows
    queries = np.flatnonzero(hidden.sum(axis=1) >= MIN_USERS)
    queries = np.sort(np.random.default_rng(0).permutation(queries)[:items])
    allowed = np.ones(len(data), bool)
    scores: dict[str, list[np.ndarray]] = {}
    lengths = np.diff(histories.starts).astype(np.float32)
    rng = np.random.default_rng(1)
    for column in queries.tolist():
        for name, some in orders.items():
            related = related_items(generators, data, column, allowed, some)
            for power in powers:
                of = score_users(histories, related, power)
                scores.setdefault(f"{name}, power {power:g}", []).append(of)
        scores.setdefault("popularity of users", []).append(lengths)
        scores.setdefault("random", []).append(rng.random(n_users, np.float32))
    found = {name: np.stack(rows) for name, rows in scores.items()}
    return found, hidden[queries], known[queries]


def ranked(scores: np.ndarray, hidden: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return whether the user at each place hid the item, shape (n_items, n_places)."""
    ties = np.random.default_rng(2).random(scores.shape)
    order = np.lexsort((ties, -np.where(known, -np.inf, scores)), axis=1)[:, : max(CUTOFFS)]
    return np.take_along_axis(hidden, order, axis=1)


def main() -> None:
    """Measure every protocol."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, nargs="+", required=True)
    parser.add_argument("--powers", type=float, nargs="+", default=[0.25])
    parser.add_argument("--items", type=int, default=300, help="most items of a protocol")
    options = parser.parse_args()
    space = Space.open(options.space)
    for folder in options.protocol:
        measure(space, folder, options.powers, options.items)


if __name__ == "__main__":
    main()
