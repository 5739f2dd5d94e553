"""What each candidate generator finds alone, and what all of them lose without it.

``python benchmarks/generators.py --space S --protocol cold_A_to_B warm_B``

For every protocol folder (see `read_protocol`) the generators are tuned and fitted to the train
table, and the validation users are met; the test split is never read. NDCG@10 and recall@200 are
those of a generator alone. Of what is lost without it, the first is the recall of all candidates
together, the second NDCG@10 of a fusion of the generators by reciprocal rank (Cormack et al.,
SIGIR 2009), each with its 95 % interval over users.

``--only popularity two-tower --coral 1`` measures some generators alone, such as the two-tower
model with a term of domain adaptation (``--adversarial``, ``--coral``, ``--mmd``: its weight).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from common.tables import print_table

from isthmus import Space
from isthmus.evaluation.task import Task, read_protocol
from isthmus.numerics.arrays import Columns, Mask
from isthmus.numerics.metrics import PerUser, ndcg, recall
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.tuning import tune_generators
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.schema import WEIGHT

DEPTH, CUTOFF, RESAMPLES = 200, 10, 2_000
RANK_CONSTANT = 60.0  # of the fusion by reciprocal rank


def measure(space: Space, folder: Path, settings: RecommenderSettings) -> None:
    """Print the table of a protocol."""
    task = read_protocol(folder, "val")
    train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
    view = space.opened.view()
    data = space_training_data(view, space.opened.vector_weights, train)
    data = replace(data, targets=(str(task.target_domain),))
    start = time.process_time()
    tuned, reports = tune_generators(settings.make_generators(), data, seed=settings.seed)
    seconds = {report.name: report.seconds for report in reports}
    generators = CandidateGenerators(tuned)
    for generator in generators:
        begun = time.process_time()
        generator.fit(data)
        seconds[generator.name] += time.process_time() - begun
    total = time.process_time() - start
    pool, truth = candidates_of(task, data, generators)
    rows = [row(name, pool, truth, seconds[name]) for name in generators.names]
    everything = np.ones(len(pool.generators), bool)
    found = union_recall(pool, truth, everything).mean()
    fused = fusion_ndcg(pool, truth, everything).mean()
    print(f"\n{task.name}: {len(task.users)} users, union {found:.4f}, fusion {fused:.4f}, "
          f"{total:.0f} s of processor time")  # fmt: skip
    headers = ("generator", "NDCG@10", "recall@200", "union without", "fusion without", "s")
    print_table(headers, rows)


def candidates_of(
    task: Task, data: TrainingData, generators: CandidateGenerators
) -> tuple[CandidatePool, list[Columns]]:
    """Return the candidates of the users, and the relevant items of each."""
    place = {name: at for at, name in enumerate(data.item_ids.tolist())}

    def columns(items: Sequence[str]) -> Columns:
        return np.array([place[item] for item in items if item in place], np.int64)

    allowed = np.zeros(len(data), bool)
    allowed[columns(task.candidates)] = True
    histories = UserHistories.from_lists([columns(user.history) for user in task.users])
    known = [columns([*{*user.history, *user.exclude}]) for user in task.users]
    seen = UserHistories.from_lists(known).seen(len(data))
    scorers = generators.scorers(data, histories, data.target_codes[0])
    truth = [columns(user.truth) for user in task.users]
    return candidate_pool(scorers, DEPTH, allowed, seen), truth


def row(name: str, pool: CandidatePool, truth: list[Columns], seconds: float) -> list[str]:
    """Return the cells of a generator."""
    number = pool.generators.index(name)
    alone, everything = np.zeros((2, len(pool.generators)), bool)
    alone[number], everything[:] = True, True
    others = ~alone
    hits, counts = hits_of(pool, truth, alone), lengths(truth)
    losses = [
        measured(pool, truth, others) - measured(pool, truth, everything)
        for measured in (union_recall, fusion_ndcg)
    ]
    return [
        name,
        f"{ndcg(hits, counts, CUTOFF).mean():.4f}",
        f"{recall(hits, counts, DEPTH).mean():.4f}",
        *map(with_interval, losses),
        f"{seconds:.1f}",
    ]


def union_recall(pool: CandidatePool, truth: list[Columns], chosen: Mask) -> PerUser:
    """Return the share of the relevant items among what some generators propose."""
    proposed = (pool.ranks[chosen] > 0).any(axis=0)
    bounds = pool.starts.tolist()
    found = [
        np.isin(pool.items[start:end][proposed[start:end]], items).sum()
        for start, end, items in zip(bounds, bounds[1:], truth, strict=False)
    ]
    return np.array(found) / lengths(truth)


def fusion_ndcg(pool: CandidatePool, truth: list[Columns], chosen: Mask) -> PerUser:
    """Return NDCG@10 of the fusion of some generators."""
    return ndcg(hits_of(pool, truth, chosen), lengths(truth), CUTOFF)


def hits_of(pool: CandidatePool, truth: list[Columns], chosen: Mask) -> Mask:
    """Return which places of the fused list of each user are hits, shape (n_users, 200)."""
    ranks = pool.ranks[chosen]
    scores = np.where(ranks > 0, 1 / (RANK_CONSTANT + ranks), 0).sum(axis=0)
    hits = np.zeros((len(pool), DEPTH), bool)
    for user, items in enumerate(truth):
        candidates = slice(pool.starts[user], pool.starts[user + 1])
        order = np.argsort(-scores[candidates], kind="stable")[:DEPTH]
        listed = pool.items[candidates][order[scores[candidates][order] > 0]]
        hits[user, : len(listed)] = np.isin(listed, items)
    return hits


def lengths(truth: list[Columns]) -> npt.NDArray[np.int64]:
    """Return the number of relevant items of each user, at least 1."""
    return np.array([max(len(items), 1) for items in truth], np.int64)


def with_interval(differences: PerUser) -> str:
    """Return a mean with its interval."""
    low, high = interval(resampled_means(differences[:, None], RESAMPLES, 0)[:, 0], 0.95)
    return f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    """Measure the protocols that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, nargs="+", required=True)
    parser.add_argument("--two-tower", action="store_true", help="measure the two-tower model too")
    parser.add_argument("--only", nargs="+", metavar="GENERATOR", help="measure these alone")
    for term in ("adversarial", "coral", "mmd"):
        parser.add_argument(f"--{term}", type=float, default=0.0, help="weight of the term")
    parser.add_argument("--tower-epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    space = Space.open(arguments.space)
    settings = RecommenderSettings(
        two_tower=arguments.two_tower or "two-tower" in (arguments.only or ()),
        adversarial_weight=arguments.adversarial,
        coral_weight=arguments.coral,
        mmd_weight=arguments.mmd,
        tower_epochs=arguments.tower_epochs,
        seed=arguments.seed,
    )
    if arguments.only:
        names = [generator.name for generator in settings.make_generators()]
        left_out = tuple(name for name in names if name not in arguments.only)
        settings = replace(settings, exclude_generators=left_out)
    for folder in arguments.protocol:
        measure(space, folder, settings)


if __name__ == "__main__":
    main()
