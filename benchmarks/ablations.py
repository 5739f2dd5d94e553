"""What the ranker loses without each generator, loss and correction, trained again.

``python benchmarks/ablations.py --space S --protocol cold_A_to_B few1_A_to_B --out ablations``

The protocols (see `read_protocol`) share a train table. Their validation users are ranked, the test
split is never read. Examples, pools and every figure are kept in the folder ``--out``; the same
command goes on where it was stopped. ``--seeds`` trains every ranker so many times, and the mean
over them is compared, user by user, with that of the whole.

``--slow`` adds variants that need generators or examples of their own, some 15 minutes of one core
each: a ranker pretrained on the other domains, and two-tower models with domain adaptation.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from common.tables import print_table

from isthmus import Space
from isthmus.evaluation.task import Task, read_protocol
from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import ndcg, recall
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generators import CandidateGenerators, item_knn_variants
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import ExampleBatches
from isthmus.retrieval.ranker.examples import Examples, make_examples
from isthmus.retrieval.ranker.features import (
    GENERATOR,
    GENERATOR_RANK,
    FeatureInputs,
    Features,
    column_name,
    compute_features,
    feature_columns,
)
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import ExampleSettings
from isthmus.retrieval.ranker.training import TrainingSettings, train_ranker
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.schema import TIME, WEIGHT

USERS_AT_ONCE = 256
FOUND, DEPTH = 10, 200
RESAMPLES = 2_000
Figures = dict[str, list[float]]
ITEM_KNN = tuple(generator.name for generator in item_knn_variants())


@dataclass(frozen=True)
class Variant:
    """How a variant differs from the whole recommender.

    Attributes
    ----------
    without : tuple of str
        Candidate generators that are left out.
    loss : str
        Loss of the ranker.
    corrected : bool
        Whether the loss corrects for the sampling of the candidates (logQ).
    learning : RecommenderSettings
        Settings of the training; other ones than those of the whole need examples of their own.
    pretrain : bool
        Whether the ranker is first trained on the other domains as targets.
    """

    without: tuple[str, ...] = ()
    loss: str = "listwise"
    corrected: bool = True
    learning: RecommenderSettings = field(default_factory=RecommenderSettings)
    pretrain: bool = False


def others(name: str) -> tuple[str, ...]:
    """Return the item-KNN configurations but for one."""
    return tuple(other for other in ITEM_KNN if other != name)


QUICK: dict[str, Variant] = {
    "whole": Variant(),
    "pairwise loss (BPR)": Variant(loss="pairwise"),
    "no correction for sampling": Variant(corrected=False),
    "without all item-KNN": Variant(without=ITEM_KNN),
    **{f"without {name}": Variant(without=(name,)) for name in ITEM_KNN},
    **{f"{name} alone of item-KNN": Variant(without=others(name)) for name in ITEM_KNN[:3]},
    "without EASE": Variant(without=("EASE",)),
    "without user-KNN": Variant(without=("user-KNN",)),
    "without ALS": Variant(without=("ALS",)),
    "without content": Variant(without=("content",)),
    "without TF-IDF overlap": Variant(without=("TF-IDF overlap",)),
    "without content-smoothed item-KNN": Variant(without=("content-smoothed item-KNN",)),
    "without content and content-smoothed item-KNN": Variant(
        without=("content", "content-smoothed item-KNN")
    ),
    "without two-tower": Variant(without=("two-tower",)),
    "without popularity": Variant(without=("popularity", "trend")),
}
SLOW: dict[str, Variant] = {
    "pretrained on the other domains": Variant(pretrain=True),
    "adversarial towers (0.1)": Variant(learning=RecommenderSettings(adversarial_weight=0.1)),
    "CORAL towers (1)": Variant(learning=RecommenderSettings(coral_weight=1.0)),
    "MMD towers (1)": Variant(learning=RecommenderSettings(mmd_weight=1.0)),
    "features centred only": Variant(learning=RecommenderSettings(feature_normalization="centre")),
    "features as they are": Variant(learning=RecommenderSettings(feature_normalization="none")),
}


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Candidates of some validation users.

    Attributes
    ----------
    histories : UserHistories
        What is known of the users.
    pool : CandidatePool
        Their candidates.
    features : Features
        What the ranker reads.
    truth : list of numpy.ndarray
        Items that each of them went on to like.
    """

    histories: UserHistories
    pool: CandidatePool
    features: Features
    truth: list[Columns]


class Bench:
    """Everything that rankers are trained and measured on, each made once.

    Parameters
    ----------
    space : Space
        Of the items.
    protocols : sequence of Path
        Folders with one train table.
    out : Path
        Where all is kept.
    scenarios : sequence of str, optional
        The scenarios of the examples to train on, see `Episodes`; by default all.
    """

    def __init__(
        self, space: Space, protocols: Sequence[Path], out: Path, scenarios: Sequence[str] = ()
    ) -> None:
        self.tasks = [read_protocol(folder, "val") for folder in protocols]
        if any(not task.train.equals(self.tasks[0].train) for task in self.tasks):
            raise SystemExit("the protocols have different train tables")
        self.out, self.scenarios = out, tuple(scenarios)
        view = space.opened.view()
        train = self.tasks[0].train.append_column(WEIGHT, pa.repeat(1.0, len(self.tasks[0].train)))
        self.corpus = space_training_data(view, space.opened.vector_weights, train)
        self.timed = train.column(TIME).null_count == 0
        self.target = str(self.tasks[0].target_domain)
        self.place = {name: at for at, name in enumerate(self.corpus.item_ids.tolist())}
        self._held: dict[Path, Any] = {}

    def examples(self, learning: RecommenderSettings, domain: str, folds: int) -> Examples:
        """Simulate the users of a domain."""

        def make() -> Examples:
            return make_examples(
                self.corpus,
                learning.make_generators,
                learning.make_statistics,
                self.corpus.domain_code(domain),
                replace(learning.examples, folds=folds),
                show=True,
            )

        examples = self._kept(f"examples-{domain}-{folds}-{_tag(learning)}", make)
        return of_scenarios(examples, self.scenarios) if self.scenarios else examples

    def ranked(self, learning: RecommenderSettings) -> dict[str, list[ScoredRows]]:
        """Find the candidates of the validation users of every protocol."""

        def make() -> dict[str, list[ScoredRows]]:
            generators = CandidateGenerators(learning.make_generators()).fit(self.corpus, show=True)
            statistics = learning.make_statistics().fit(self.corpus)
            return {task.name: self._pools(task, generators, statistics) for task in self.tasks}

        return self._kept(f"ranked-{_tag(learning)}", make)

    def _pools(
        self, task: Task, generators: CandidateGenerators, statistics: ItemStatistics
    ) -> list[ScoredRows]:
        target, corpus = self.corpus.domain_code(self.target), self.corpus
        allowed = np.zeros(len(corpus), bool)
        allowed[self._columns(task.candidates)] = True
        out = []
        for start in range(0, len(task.users), USERS_AT_ONCE):
            users = task.users[start : start + USERS_AT_ONCE]
            known = [self._columns(user.history) for user in users]
            ages = [np.arange(len(own))[::-1].astype(np.float32) for own in known]
            histories = UserHistories.from_lists(known, ages=ages if self.timed else None)
            scorers = generators.scorers(corpus, histories, target)
            pool = candidate_pool(scorers, DEPTH, allowed, histories.seen(len(corpus)))
            inputs = FeatureInputs(corpus, histories, pool, statistics, target)
            features = compute_features(inputs, feature_columns(pool.generators))
            truth = [self._columns(user.truth) for user in users]
            out.append(ScoredRows(histories, pool, features, truth))
        return out

    def _columns(self, items: Sequence[str]) -> Columns:
        return np.array([self.place[item] for item in items if item in self.place], np.int64)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        file = self.out / f"{name}.pickle"
        if file not in self._held:
            if not file.exists():
                self.out.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                part.write_bytes(pickle.dumps(make(), protocol=5))
                part.replace(file)
            self._held[file] = pickle.loads(file.read_bytes())
        return self._held[file]


def measure(bench: Bench, variant: Variant, how: TrainingSettings) -> Figures:
    """Train a ranker, and return NDCG@10 and recall@200 of every validation user."""
    learning, target = variant.learning, bench.target
    statistics = learning.make_statistics().fit(bench.corpus)
    generators = tuple(generator.name for generator in learning.make_generators())
    ranker = Ranker.untrained(
        generators,
        statistics.coarse_dim,
        members=how.members,
        hidden=how.hidden,
        dropout=how.dropout,
        seed=how.seed,
    )
    how, standardise = replace(how, loss=variant.loss), True
    for other in bench.corpus.domain_names if variant.pretrain else ():
        if other != target:
            there = learned_from(bench.examples(learning, other, 1), variant, generators)
            train_ranker(ranker.network, ExampleBatches.of(there, bench.corpus, statistics), how)
            standardise = False
    own = bench.examples(learning, target, learning.examples.folds)
    batches = ExampleBatches.of(learned_from(own, variant, generators), bench.corpus, statistics)
    train_ranker(ranker.network, batches, how, standardise=standardise)
    out: Figures = {}
    for name, parts in bench.ranked(learning).items():
        found = [_found(ranker, bench.corpus, statistics, offered(part, variant)) for part in parts]
        out[f"{name} ndcg"] = np.concatenate([ndcg for ndcg, _ in found]).tolist()
        out[f"{name} recall"] = np.concatenate([recall for _, recall in found]).tolist()
    return out


def of_scenarios(examples: Examples, scenarios: Sequence[str]) -> Examples:
    """Return the examples of some scenarios."""
    users = np.flatnonzero(np.isin(examples.scenarios, scenarios))
    lengths = examples.starts[users + 1] - examples.starts[users]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    at = np.arange(starts[-1]) + np.repeat(examples.starts[users] - starts[:-1], lengths)
    of_users = {
        name: getattr(examples, name)[users]
        for name in ("scenarios", "users", "evidence", "n_relevant", "validation")
    }
    of_candidates = {
        name: getattr(examples, name)[at]
        for name in ("items", "features", "labels", "log_probabilities")
    }
    histories = examples.histories.take_users(users)
    return replace(examples, starts=starts, histories=histories, **of_users, **of_candidates)


def learned_from(examples: Examples, variant: Variant, generators: Sequence[str]) -> Examples:
    """Take from examples what a variant does without."""
    gone, kept = _columns_of(variant, generators, examples.columns)
    there = np.ones(len(examples.items), bool)
    features = examples.features
    if gone:
        there = (features[:, kept] > 0).any(axis=1)
        features = features[there]
        features[:, gone] = 0
    log_probabilities = examples.log_probabilities[there]
    return replace(
        examples,
        starts=np.concatenate([[0], np.cumsum(there)])[examples.starts],
        items=examples.items[there],
        features=features,
        labels=examples.labels[there],
        log_probabilities=log_probabilities
        if variant.corrected
        else np.zeros_like(log_probabilities),
    )


def offered(part: ScoredRows, variant: Variant) -> ScoredRows:
    """Take from the candidates of users what a variant does without."""
    gone, kept = _columns_of(variant, part.pool.generators, part.features.columns)
    if not gone:
        return part
    there = (part.features.values[:, kept] > 0).any(axis=1)
    values = part.features.values[there]
    values[:, gone] = 0
    features = replace(part.features, values=values)
    return replace(part, pool=part.pool.filter(there), features=features)


def _columns_of(
    variant: Variant, generators: Sequence[str], columns: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the columns of the generators that are left out, and the rank columns of the rest."""
    gone = GENERATOR.column_names([name for name in generators if name in variant.without])
    kept = [column_name(name, GENERATOR_RANK) for name in generators if name not in variant.without]
    return [columns.index(name) for name in gone], [columns.index(name) for name in kept]


def _found(
    ranker: Ranker, corpus: TrainingData, statistics: ItemStatistics, part: ScoredRows
) -> tuple[np.ndarray, np.ndarray]:
    target = corpus.domain_code(corpus.domain_names[int(corpus.domains[part.pool.items[0]])])
    inputs = FeatureInputs(corpus, part.histories, part.pool, statistics, target)
    scores = ranker.score_features(part.features, inputs)
    hits = np.zeros((len(part.pool), DEPTH), bool)
    for user, truth in enumerate(part.truth):
        own = slice(part.pool.starts[user], part.pool.starts[user + 1])
        top = part.pool.items[own][top_k(scores[own], DEPTH)]
        hits[user, : len(top)] = np.isin(top, truth)
    n_relevant = np.array([len(truth) for truth in part.truth], np.int64)
    return ndcg(hits, n_relevant, FOUND), recall(hits, n_relevant, DEPTH)


def _tag(learning: RecommenderSettings) -> str:
    less = "".join(f"-no {name}" for name in learning.exclude_generators)
    users = learning.examples.max_users
    how = "" if learning.feature_normalization == "whiten" else f"-{learning.feature_normalization}"
    how += f"-mmd{learning.mmd_weight:g}" if learning.mmd_weight else ""
    losses = f"adversarial{learning.adversarial_weight:g}-coral{learning.coral_weight:g}"
    return f"{losses}-{users}{less}{how}"


def show(results: Mapping[str, Sequence[Figures]], names: Sequence[str]) -> None:
    """Print the means, and the differences from the whole with their 95 % intervals."""
    whole = results["whole"]
    for name in names:
        for what in ("ndcg", "recall"):
            rows = []
            for label, runs in results.items():
                own = np.mean([run[f"{name} {what}"] for run in runs], axis=0)
                seeds = min(len(runs), len(whole))
                gain = np.mean([run[f"{name} {what}"] for run in runs[:seeds]], axis=0)
                gain = gain - np.mean([run[f"{name} {what}"] for run in whole[:seeds]], axis=0)
                low, high = interval(resampled_means(gain[:, None], RESAMPLES, 0)[:, 0], 0.95)
                told = f"{gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
                rows.append([label, f"{own.mean():.4f}", "" if label == "whole" else told])
            print(f"\n{name}, validation, {'NDCG@10' if what == 'ndcg' else 'recall@200'}")
            print_table(["", "mean", "over the whole"], rows)


def main() -> None:
    """Train every variant with every seed, and show what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the results; existing ones are reused"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--members", type=int, default=1, help="networks of a ranker")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--scenarios", nargs="+", help="of the examples, see Episodes; default all")
    parser.add_argument("--folds", type=int, default=3, help="fewer are quicker")
    parser.add_argument("--max-users", type=int, default=10_000, help="a fold; fewer are quicker")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], help="candidate generators that no variant has"
    )
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[*QUICK, *SLOW])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = Space.open(arguments.space)
    bench = Bench(space, arguments.protocol, arguments.out, arguments.scenarios or ())
    variants = {**QUICK, **SLOW} if arguments.slow or arguments.only else dict(QUICK)
    examples = ExampleSettings(folds=arguments.folds, max_users=arguments.max_users)
    for label, variant in variants.items():
        less = tuple(arguments.leave_out)
        learning = replace(variant.learning, examples=examples, exclude_generators=less)
        variants[label] = replace(variant, learning=learning)
    results: dict[str, list[Figures]] = {}
    for seed in arguments.seeds:
        how = TrainingSettings(members=arguments.members, epochs=arguments.epochs, seed=seed)
        for label in ["whole", *(name for name in variants if name != "whole")]:
            if arguments.only and label not in ("whole", *arguments.only):
                continue
            results.setdefault(label, []).append(_once(bench, label, variants[label], how))
    show(results, [task.name for task in bench.tasks])


def _once(bench: Bench, label: str, variant: Variant, how: TrainingSettings) -> Figures:
    """Measure a variant, or read what was measured before."""
    scenarios = "".join(f"-{scenario}" for scenario in bench.scenarios)
    learned = f"{variant.learning.examples.folds}-{_tag(variant.learning)}"
    name = f"{label}-{learned}-{how.members}-{how.epochs}-{how.seed}{scenarios}.json"
    file = bench.out / "figures" / name
    if not file.exists():
        start = time.perf_counter()
        figures = measure(bench, variant, how)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures))
        told = ", ".join(f"{name} {np.mean(own):.4f}" for name, own in figures.items())
        took = time.perf_counter() - start
        print(f"{label}, seed {how.seed}: {told} ({took:.0f} s)", flush=True)
    return dict(json.loads(file.read_text()))


if __name__ == "__main__":
    main()
