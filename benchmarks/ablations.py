"""Ablations: what the ranker of each situation loses without a candidate generator or a feature.

``python benchmarks/ablations.py --space S --protocol cold_A_to_B``

Users are simulated on the train table of the protocol, as in a training; its val and test users are
not read. A generator that is left out gives neither candidates nor features, and the model is
trained again. Figures are of users that a model was not trained on; differences from the whole are
paired by user.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from common.tables import print_table

from isthmus import Space
from isthmus.evaluation.task import read_protocol
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import estimate
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.cross_validation import CrossValidation
from isthmus.retrieval.ranker.examples import Examples, ExamplesBySituation, make_examples
from isthmus.retrieval.ranker.features import FEATURE_GROUPS, GENERATOR, GENERATOR_RANK
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.selection import SituationTraining
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.schema import WEIGHT

WHOLE = "whole"


def simulated(
    space: Space, protocol: Path, settings: RecommenderSettings
) -> tuple[tuple[str, ...], ExamplesBySituation]:
    """Return the names of the generators, and the examples of every situation."""
    task = read_protocol(protocol, "val")
    train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
    data = space_training_data(space.opened.view(), space.opened.vector_weights, train)

    def fitted(visible: TrainingData) -> tuple[CandidateGenerators, ItemStatistics]:
        generators = CandidateGenerators(settings.make_generators()).fit(visible, show=True)
        return generators, ItemStatistics().fit(visible)

    target = data.domain_code(str(task.target_domain))
    names = tuple(generator.name for generator in settings.make_generators())
    return names, make_examples(data, fitted, target, settings.examples, show=True)


def without_generator(examples: Examples, name: str) -> Examples:
    """Leave out the candidates that one generator alone proposed, and its features."""
    kept = [n for n, column in enumerate(examples.columns) if not column.startswith(f"{name}: ")]
    suffix = f": {GENERATOR_RANK}"
    ranks = [n for n in kept if examples.columns[n].endswith(suffix)]
    proposed = (examples.features[:, ranks] > 0).any(axis=1)
    return replace(
        with_columns(examples, kept),
        starts=np.concatenate([[0], np.cumsum(proposed)])[examples.starts],
        items=examples.items[proposed],
        features=examples.features[proposed][:, kept],
        labels=examples.labels[proposed],
    )


def without_group(examples: Examples, prefix: str) -> Examples:
    """Leave out the features of a group."""
    kept = [n for n, column in enumerate(examples.columns) if not column.startswith(f"{prefix}: ")]
    return with_columns(examples, kept)


def with_columns(examples: Examples, kept: Sequence[int]) -> Examples:
    """Return examples with some of their features."""
    columns = tuple(examples.columns[n] for n in kept)
    return replace(examples, columns=columns, features=examples.features[:, list(kept)])


def ndcg_of(
    situation: str, examples: Examples, generators: Sequence[str], settings: TrainingSettings
) -> tuple[PerUser, PerUser]:
    """Return NDCG@10 and recall@200 of each user by the richest model."""
    validation = CrossValidation({situation: examples}, settings)
    training = SituationTraining(situation, validation, generators)
    *_, richest = training.cross_validated_models().values()
    return richest.ndcg, richest.recall


def main() -> None:
    """Train every variant of every situation, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--users", type=int, default=2_000, help="users of a situation")
    parser.add_argument("--leave-out", nargs="+", default=[], help="generators not used at all")
    parser.add_argument("--models", nargs="+", default=["linear"], help="the last one is measured")
    arguments = parser.parse_args()
    settings = RecommenderSettings(
        examples=ExampleSettings(users=arguments.users),
        training=TrainingSettings(models=tuple(arguments.models)),
        exclude_generators=tuple(arguments.leave_out),
    )
    generators, by_situation = simulated(Space.open(arguments.space), arguments.protocol, settings)
    for situation, examples in by_situation.items():
        variants = {WHOLE: examples}
        variants |= {f"without {name}": without_generator(examples, name) for name in generators}
        variants |= {
            f"without the features {group.name!r}": without_group(examples, group.name)
            for group in FEATURE_GROUPS
            if group is not GENERATOR
        }
        figures, rows = {}, []
        for label, variant in variants.items():
            start = time.process_time()
            names = [name for name in generators if label != f"without {name}"]
            figures[label] = ndcg_of(situation, variant, names, settings.training)
            seconds = f"{time.process_time() - start:.1f}"
            cells = []
            for side in range(2):
                gain = estimate(figures[label][side] - figures[WHOLE][side])
                apart = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
                cells += [f"{figures[label][side].mean():.4f}", "" if label == WHOLE else apart]
            rows.append([label, *cells, seconds])
        print(f"\n{situation}, {len(examples):,} simulated users")
        columns = ["variant", "NDCG@10", "difference", "recall@200", "difference", "seconds"]
        print_table(columns, rows)


if __name__ == "__main__":
    main()
