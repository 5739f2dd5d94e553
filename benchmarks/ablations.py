"""Ablations: what the ranker loses without each candidate generator, loss and correction.

``python benchmarks/ablations.py --space S --protocol cold_A_to_B few1_A_to_B --out ablations``

The protocols (see `read_protocol`) share a train table. Their validation users are ranked, the test
split is never read. Examples, candidate pools and all figures are cached in the folder ``--out``;
the same command resumes an interrupted run. Every ranker is trained once per seed of ``--seeds``;
the mean over the seeds is compared, user by user, with that of the full recommender ("whole").

``--slow`` adds variants that need separate generators or examples, about 15 minutes on one core
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
from isthmus.retrieval.candidates.generators import CandidateGenerators
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
NDCG_CUTOFF, N_CANDIDATES = 10, 200
RESAMPLES = 2_000
Figures = dict[str, list[float]]
ITEM_KNN = ("item-KNN", "item-KNN (in-domain)")


@dataclass(frozen=True)
class Variant:
    """How a variant differs from the full recommender.

    Attributes
    ----------
    without : tuple of str
        Candidate generators that are left out.
    loss : str
        Loss of the ranker.
    corrected : bool
        Whether the loss corrects for the sampling of the candidates (logQ).
    learning : RecommenderSettings
        Settings of the recommender; variants with other settings need separate examples.
    pretrain : bool
        Whether the ranker is first trained on the other domains as targets.
    """

    without: tuple[str, ...] = ()
    loss: str = "listwise"
    corrected: bool = True
    recommender: RecommenderSettings = field(default_factory=RecommenderSettings)
    pretrain: bool = False


QUICK: dict[str, Variant] = {
    "whole": Variant(),
    "pairwise loss (BPR)": Variant(loss="pairwise"),
    "no correction for sampling": Variant(corrected=False),
    "without all item-KNN": Variant(without=ITEM_KNN),
    **{f"without {name}": Variant(without=(name,)) for name in ITEM_KNN},
    "without EASE": Variant(without=("EASE",)),
    "without user-KNN": Variant(without=("user-KNN",)),
    "without ALS": Variant(without=("ALS",)),
    "without content": Variant(without=("content",)),
    "without TF-IDF overlap": Variant(without=("TF-IDF overlap",)),
    "without content-smoothed item-KNN": Variant(without=("content-smoothed item-KNN",)),
    "without content and content-smoothed item-KNN": Variant(
        without=("content", "content-smoothed item-KNN")
    ),
    "without factor regression": Variant(without=("factor regression",)),
    "without popularity": Variant(without=("popularity", "trend")),
}
SLOW: dict[str, Variant] = {
    "pretrained on the other domains": Variant(pretrain=True),
    "with two-tower": Variant(recommender=RecommenderSettings(two_tower=True)),
    "adversarial towers (0.1)": Variant(recommender=RecommenderSettings(adversarial_weight=0.1)),
    "CORAL towers (1)": Variant(recommender=RecommenderSettings(coral_weight=1.0)),
    "MMD towers (1)": Variant(recommender=RecommenderSettings(mmd_weight=1.0)),
    "features centred only": Variant(
        recommender=RecommenderSettings(feature_normalization="centre")
    ),
    "features as they are": Variant(recommender=RecommenderSettings(feature_normalization="none")),
}


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Candidates of some validation users.

    Attributes
    ----------
    histories : UserHistories
        Histories of the users.
    pool : CandidatePool
        Their candidates.
    features : Features
        Input features of the ranker.
    truth : list of numpy.ndarray
        Relevant items of each user, as columns of the training data.
    """

    histories: UserHistories
    pool: CandidatePool
    features: Features
    truth: list[Columns]


class Bench:
    """Training examples and validation candidates of all rankers, computed once and cached.

    Parameters
    ----------
    space : Space
        Space of the items.
    protocols : sequence of Path
        Protocol folders that share one train table.
    out : Path
        Folder of the cache.
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
        self.training_data = space_training_data(view, space.opened.vector_weights, train)
        self.timed = train.column(TIME).null_count == 0
        self.target = str(self.tasks[0].target_domain)
        self.column_of = {name: at for at, name in enumerate(self.training_data.item_ids.tolist())}
        self._memory: dict[Path, Any] = {}

    def examples(self, recommender: RecommenderSettings, domain: str, folds: int) -> Examples:
        """Simulate the users of a domain."""

        def compute() -> Examples:
            return make_examples(
                self.training_data,
                recommender.make_generators,
                recommender.make_statistics,
                self.training_data.domain_code(domain),
                replace(recommender.examples, folds=folds),
                show=True,
            )

        examples = self._cached(f"examples-{domain}-{folds}-{_tag(recommender)}", compute)
        return of_scenarios(examples, self.scenarios) if self.scenarios else examples

    def ranked(self, recommender: RecommenderSettings) -> dict[str, list[ScoredRows]]:
        """Return the candidates of the validation users of every protocol."""

        def compute() -> dict[str, list[ScoredRows]]:
            generators = CandidateGenerators(recommender.make_generators()).fit(
                self.training_data, show=True
            )
            statistics = recommender.make_statistics().fit(self.training_data)
            return {
                task.name: self._candidates_of_users(task, generators, statistics)
                for task in self.tasks
            }

        return self._cached(f"ranked-{_tag(recommender)}", compute)

    def _candidates_of_users(
        self, task: Task, generators: CandidateGenerators, statistics: ItemStatistics
    ) -> list[ScoredRows]:
        target, training_data = self.training_data.domain_code(self.target), self.training_data
        allowed = np.zeros(len(training_data), bool)
        allowed[self._columns(task.candidates)] = True
        batches = []
        for start in range(0, len(task.users), USERS_AT_ONCE):
            users = task.users[start : start + USERS_AT_ONCE]
            user_columns = [self._columns(user.history) for user in users]
            ages = [np.arange(len(columns))[::-1].astype(np.float32) for columns in user_columns]
            histories = UserHistories.from_lists(user_columns, ages=ages if self.timed else None)
            scorers = generators.scorers(training_data, histories, target)
            pool = candidate_pool(
                scorers, N_CANDIDATES, allowed, histories.seen(len(training_data))
            )
            inputs = FeatureInputs(training_data, histories, pool, statistics, target)
            features = compute_features(inputs, feature_columns(pool.generators))
            truth = [self._columns(user.truth) for user in users]
            batches.append(ScoredRows(histories, pool, features, truth))
        return batches

    def _columns(self, items: Sequence[str]) -> Columns:
        return np.array(
            [self.column_of[item] for item in items if item in self.column_of], np.int64
        )

    def _cached(self, name: str, compute: Callable[[], Any]) -> Any:
        file = self.out / f"{name}.pickle"
        if file not in self._memory:
            if not file.exists():
                self.out.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                part.write_bytes(pickle.dumps(compute(), protocol=5))
                part.replace(file)
            self._memory[file] = pickle.loads(file.read_bytes())
        return self._memory[file]


def measure(bench: Bench, variant: Variant, training: TrainingSettings) -> Figures:
    """Train the ranker of a variant; return NDCG@10 and recall@200 of every validation user."""
    recommender, target = variant.recommender, bench.target
    statistics = recommender.make_statistics().fit(bench.training_data)
    generators = tuple(generator.name for generator in recommender.make_generators())
    ranker = Ranker.untrained(
        generators,
        statistics.coarse_dim,
        members=training.members,
        hidden=training.hidden,
        dropout=training.dropout,
        seed=training.seed,
    )
    training, standardise = replace(training, loss=variant.loss), True
    for other in bench.training_data.domain_names if variant.pretrain else ():
        if other != target:
            other_examples = ablated_examples(
                bench.examples(recommender, other, 1), variant, generators
            )
            train_ranker(
                ranker.network,
                ExampleBatches.of(other_examples, bench.training_data, statistics),
                training,
            )
            standardise = False
    target_examples = bench.examples(recommender, target, recommender.examples.folds)
    batches = ExampleBatches.of(
        ablated_examples(target_examples, variant, generators), bench.training_data, statistics
    )
    train_ranker(ranker.network, batches, training, standardise=standardise)
    out: Figures = {}
    for name, parts in bench.ranked(recommender).items():
        metrics_of_batches = [
            _user_metrics(
                ranker, bench.training_data, statistics, ablated_candidates(part, variant)
            )
            for part in parts
        ]
        out[f"{name} ndcg"] = np.concatenate([ndcg for ndcg, _ in metrics_of_batches]).tolist()
        out[f"{name} recall"] = np.concatenate(
            [recall for _, recall in metrics_of_batches]
        ).tolist()
    return out


def of_scenarios(examples: Examples, scenarios: Sequence[str]) -> Examples:
    """Return the examples of some scenarios."""
    users = np.flatnonzero(np.isin(examples.scenarios, scenarios))
    lengths = examples.starts[users + 1] - examples.starts[users]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(starts[-1]) + np.repeat(examples.starts[users] - starts[:-1], lengths)
    user_fields = {
        name: getattr(examples, name)[users]
        for name in ("scenarios", "users", "evidence", "n_relevant", "validation")
    }
    candidate_fields = {
        name: getattr(examples, name)[positions]
        for name in ("items", "features", "labels", "log_probabilities")
    }
    histories = examples.histories.take_users(users)
    return replace(examples, starts=starts, histories=histories, **user_fields, **candidate_fields)


def ablated_examples(examples: Examples, variant: Variant, generators: Sequence[str]) -> Examples:
    """Remove from examples the features and candidates of the generators that a variant omits."""
    removed, remaining = _columns_of(variant, generators, examples.columns)
    mask = np.ones(len(examples.items), bool)
    features = examples.features
    if removed:
        mask = (features[:, remaining] > 0).any(axis=1)
        features = features[mask]
        features[:, removed] = 0
    log_probabilities = examples.log_probabilities[mask]
    return replace(
        examples,
        starts=np.concatenate([[0], np.cumsum(mask)])[examples.starts],
        items=examples.items[mask],
        features=features,
        labels=examples.labels[mask],
        log_probabilities=log_probabilities
        if variant.corrected
        else np.zeros_like(log_probabilities),
    )


def ablated_candidates(part: ScoredRows, variant: Variant) -> ScoredRows:
    """Remove from users' candidates what only the generators omitted by a variant propose."""
    removed, remaining = _columns_of(variant, part.pool.generators, part.features.columns)
    if not removed:
        return part
    mask = (part.features.values[:, remaining] > 0).any(axis=1)
    values = part.features.values[mask]
    values[:, removed] = 0
    features = replace(part.features, values=values)
    return replace(part, pool=part.pool.filter(mask), features=features)


def _columns_of(
    variant: Variant, generators: Sequence[str], columns: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the columns of the generators that are left out, and the rank columns of the rest."""
    removed = GENERATOR.column_names([name for name in generators if name in variant.without])
    remaining = [
        column_name(name, GENERATOR_RANK) for name in generators if name not in variant.without
    ]
    return [columns.index(name) for name in removed], [columns.index(name) for name in remaining]


def _user_metrics(
    ranker: Ranker, training_data: TrainingData, statistics: ItemStatistics, part: ScoredRows
) -> tuple[np.ndarray, np.ndarray]:
    target = training_data.domain_code(
        training_data.domain_names[int(training_data.domains[part.pool.items[0]])]
    )
    inputs = FeatureInputs(training_data, part.histories, part.pool, statistics, target)
    scores = ranker.score_features(part.features, inputs)
    hits = np.zeros((len(part.pool), N_CANDIDATES), bool)
    for user, truth in enumerate(part.truth):
        user_slice = slice(part.pool.starts[user], part.pool.starts[user + 1])
        top = part.pool.items[user_slice][top_k(scores[user_slice], N_CANDIDATES)]
        hits[user, : len(top)] = np.isin(top, truth)
    n_relevant = np.array([len(truth) for truth in part.truth], np.int64)
    return ndcg(hits, n_relevant, NDCG_CUTOFF), recall(hits, n_relevant, N_CANDIDATES)


def _tag(recommender: RecommenderSettings) -> str:
    excluded = "".join(f"-no {name}" for name in recommender.exclude_generators or ())
    users = recommender.examples.max_users
    suffix = (
        ""
        if recommender.feature_normalization == "whiten"
        else f"-{recommender.feature_normalization}"
    )
    suffix += f"-mmd{recommender.mmd_weight:g}" if recommender.mmd_weight else ""
    losses = f"adversarial{recommender.adversarial_weight:g}-coral{recommender.coral_weight:g}"
    return f"{losses}-{users}{excluded}{suffix}"


def show(results: Mapping[str, Sequence[Figures]], names: Sequence[str]) -> None:
    """Print the means, and the differences from the full recommender with 95 % intervals."""
    whole = results["whole"]
    for name in names:
        for metric in ("ndcg", "recall"):
            rows = []
            for label, runs in results.items():
                means = np.mean([run[f"{name} {metric}"] for run in runs], axis=0)
                seeds = min(len(runs), len(whole))
                gain = np.mean([run[f"{name} {metric}"] for run in runs[:seeds]], axis=0)
                gain = gain - np.mean([run[f"{name} {metric}"] for run in whole[:seeds]], axis=0)
                low, high = interval(resampled_means(gain[:, None], RESAMPLES, 0)[:, 0], 0.95)
                difference = f"{gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
                rows.append([label, f"{means.mean():.4f}", "" if label == "whole" else difference])
            print(f"\n{name}, validation, {'NDCG@10' if metric == 'ndcg' else 'recall@200'}")
            print_table(["variant", "mean", "difference from whole"], rows)


def main() -> None:
    """Train every variant with every seed, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the results; existing ones are reused"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--members", type=int, default=1, help="networks of a ranker")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--scenarios", nargs="+", help="scenarios of the examples; default all")
    parser.add_argument("--folds", type=int, default=3, help="cross-fitting folds")
    parser.add_argument("--max-users", type=int, default=10_000, help="users per fold")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], help="candidate generators to omit in every variant"
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
        excluded = tuple(arguments.leave_out)
        recommender = replace(variant.recommender, examples=examples, exclude_generators=excluded)
        variants[label] = replace(variant, recommender=recommender)
    results: dict[str, list[Figures]] = {}
    for seed in arguments.seeds:
        training = TrainingSettings(members=arguments.members, epochs=arguments.epochs, seed=seed)
        for label in ["whole", *(name for name in variants if name != "whole")]:
            if arguments.only and label not in ("whole", *arguments.only):
                continue
            results.setdefault(label, []).append(
                _measure_cached(bench, label, variants[label], training)
            )
    show(results, [task.name for task in bench.tasks])


def _measure_cached(
    bench: Bench, label: str, variant: Variant, training: TrainingSettings
) -> Figures:
    """Measure a variant, or read its cached figures."""
    scenarios = "".join(f"-{scenario}" for scenario in bench.scenarios)
    examples_tag = f"{variant.recommender.examples.folds}-{_tag(variant.recommender)}"
    training_tag = f"{training.members}-{training.epochs}-{training.seed}"
    name = f"{label}-{examples_tag}-{training_tag}{scenarios}.json"
    file = bench.out / "figures" / name
    if not file.exists():
        start = time.perf_counter()
        figures = measure(bench, variant, training)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures))
        summary = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in figures.items())
        seconds = time.perf_counter() - start
        print(f"{label}, seed {training.seed}: {summary} ({seconds:.0f} s)", flush=True)
    return dict(json.loads(file.read_text()))


if __name__ == "__main__":
    main()
