"""Cross-modal retrieval between texts and images: recall@10 on held-out pairs, and baselines.

``OMP_NUM_THREADS=1 python benchmarks/alignment.py`` (data: ISTHMUS_DATA; vectors are encoded once
and cached in ``--work``; after that some minutes per seed on one core)

Three sets, encoded by ``local``: fashion titles, film posters (title and genres), and Flickr8k
captions (five per picture). A fifth of each set is held out by seed, together with all pairs that
share a text or a picture with it; the rest is training data, of which a tenth is the validation
set, for tuning and early stopping. Every distinct text is one query, and every picture that a pair
joins with this text is relevant (fashion titles repeat); likewise for pictures as queries. The
baselines are tuned on the same validation set: regularised CCA over ridges, dimensions and the
power of its correlations, orthogonal Procrustes over dimensions, and ASIF-style relative
representations (Norelli et al., "ASIF: coupled data turns unimodal models to multimodal without
training", NeurIPS 2023) over the number of anchors and exponents.

CCA and the projection heads are also measured with the hubness correction of
``search(..., hubness_correction=1)``, estimated from training data only.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common.picture_pairs import SETS, read_pairs
from common.tables import print_heading, print_table, write_json

from isthmus.encoders.projection_head import unit_rows
from isthmus.encoders.training.alignment.closed_form import Correlations
from isthmus.encoders.training.alignment.cross_modal_recall import (
    CrossModalRecall,
    cross_modal_recall,
    recall_by_set,
)
from isthmus.encoders.training.alignment.fit import closed_form, train_from, train_sets
from isthmus.encoders.training.alignment.pairs import Pairs, join_pairs
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.hubness import MAX_QUERIES, mean_similarity_to_nearest

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LENGTHS = (64, 128, 256, 384)
POWERS = (0.0, 0.25, 0.5, 1.0)
N_ANCHORS = (50, 200, 800, 3_200)
EXPONENTS = (1, 2, 4, 8)
TARGET = 1.10
HUB_CORRECTED = ", hubs corrected"

Sides = tuple[FloatArray, FloatArray]
Method = Callable[[Pairs], Sides]


@dataclass(frozen=True)
class Row:
    """The recall of one method on one set with one seed, and its training seconds."""

    name: str
    method: str
    seed: int
    recall: CrossModalRecall
    seconds: float
    settings: str


def main() -> None:
    """Measure every method on every set and seed."""
    arguments = _arguments()
    pairs = {name: read_pairs(arguments.work, (name,)) for name in arguments.sets}
    print_heading("alignment: recall@10 on pairs held out", ("numpy", "torch", "scipy"))
    rows = []
    for seed in range(arguments.seeds):
        for row in _measure(pairs, seed, joint=not arguments.alone):
            recalls = f"{row.recall.text_to_image:.3f} {row.recall.image_to_text:.3f}"
            print(f"{row.name}, {row.method}, seed {seed}: {recalls} ({row.settings})", flush=True)
            rows.append(row)
    _print(rows, arguments.sets)
    if arguments.out:
        write_json(arguments.out, [{**vars(r), "recall": r.recall.as_dict()} for r in rows])


def _measure(pairs: dict[str, Pairs], seed: int, *, joint: bool) -> Iterator[Row]:
    parts = {name: set_pairs.split(0.2, 100 + seed) for name, set_pairs in pairs.items()}
    for name, (fit_pairs, test) in parts.items():
        training, validation = fit_pairs.split(0.1, seed)
        for peer, candidates in (("CCA", _cca), ("Procrustes", _procrustes), ("ASIF", _asif)):
            start = time.perf_counter()
            method, settings = _best(candidates(training), validation)
            seconds = time.perf_counter() - start
            yield Row(name, peer, seed, _recall_of(method, test), seconds, settings)
            if peer == "CCA":
                method = _hub_corrected(method, fit_pairs)
                yield Row(
                    name,
                    f"{peer}{HUB_CORRECTED}",
                    seed,
                    _recall_of(method, test),
                    seconds,
                    settings,
                )
        yield from _alignment(name, training, validation, test, seed)
    if joint:
        yield from _joint_alignment(parts, seed)


def _joint_alignment(parts: dict[str, tuple[Pairs, Pairs]], seed: int) -> Iterator[Row]:
    splits = [part.split(0.1, seed) for part, _ in parts.values()]
    training, validation = (join_pairs([split[side] for split in splits]) for side in (0, 1))
    start = time.perf_counter()
    settings = AlignmentSettings(dim=480, seed=seed)
    start_heads = closed_form(training, validation, settings.dim)[0]
    heads, report = train_sets(start_heads, training, validation, settings)
    seconds = time.perf_counter() - start
    for name, (_, test) in parts.items():
        recall = recall_by_set(heads, test)[name]
        yield Row(name, "aligned, one head for all sets", seed, recall, seconds, str(report))


def _alignment(
    name: str, training: Pairs, validation: Pairs, test: Pairs, seed: int
) -> Iterator[Row]:
    start = time.perf_counter()
    settings = replace(AlignmentSettings(), seed=seed)
    heads, report = train_from(
        closed_form(training, validation, settings.dim)[0], training, validation, settings
    )
    seconds = time.perf_counter() - start

    def project(pairs: Pairs) -> Sides:
        return heads[0](pairs.text), heads[1](pairs.image)

    yield Row(name, "aligned", seed, _recall_of(project, test), seconds, str(report))
    recall = _recall_of(_hub_corrected(project, training), test)
    yield Row(name, f"aligned{HUB_CORRECTED}", seed, recall, seconds, str(report))


def _hub_corrected(method: Method, reference: Pairs) -> Method:
    """Return a method whose inner products include the hubness correction (CSLS).

    One more dimension of each side holds the penalty: half of the mean similarity to the nearest
    reference contents of the other modality. The penalty of the query shifts all its scores alike.
    """
    text, image = method(reference)
    texts, images = (
        np.random.default_rng(0).permutation(side[np.unique(ids, return_index=True)[1]])[
            :MAX_QUERIES
        ]
        for side, ids in ((text, reference.text_ids), (image, reference.image_ids))
    )

    def project(pairs: Pairs) -> Sides:
        text, image = method(pairs)
        ones = np.ones((len(pairs), 1), np.float32)
        penalties = (
            mean_similarity_to_nearest(text, images)[:, None] / 2,
            mean_similarity_to_nearest(image, texts)[:, None] / 2,
        )
        return np.hstack([text, ones, -penalties[0]]), np.hstack([image, -penalties[1], ones])

    return project


def _best(methods: Iterator[tuple[str, Method]], validation: Pairs) -> tuple[Method, str]:
    """Return the method with the best validation recall, and its settings."""
    scored = [
        (_recall_of(method, validation).mean, settings, method) for settings, method in methods
    ]
    _, settings, method = max(scored, key=lambda entry: entry[0])
    return method, settings


def _recall_of(method: Method, pairs: Pairs) -> CrossModalRecall:
    return cross_modal_recall(*method(pairs), pairs.text_ids, pairs.image_ids)


def _cca(training: Pairs) -> Iterator[tuple[str, Method]]:
    correlations = Correlations(training.text, training.image)
    for ridges, length, power in itertools.product(
        itertools.product(RIDGES[::2], RIDGES[::2]), LENGTHS, POWERS
    ):
        text, image = correlations.cca(length, *ridges, power)
        yield (
            f"ridges {ridges}, length {length}, power {power}",
            lambda p, t=text, i=image: (t(p.text), i(p.image)),
        )


def _procrustes(training: Pairs) -> Iterator[tuple[str, Method]]:
    correlations = Correlations(training.text, training.image)
    for length in LENGTHS:
        text, image = correlations.procrustes(length)
        yield f"length {length}", lambda p, t=text, i=image: (t(p.text), i(p.image))


def _asif(training: Pairs) -> Iterator[tuple[str, Method]]:
    for n_anchors, exponent in itertools.product(N_ANCHORS, EXPONENTS):
        yield (
            f"{n_anchors} anchors, exponent {exponent}",
            lambda p, k=n_anchors, e=exponent: (
                _relative(p.text, training.text, k, e),
                _relative(p.image, training.image, k, e),
            ),
        )


def _relative(
    vectors: FloatArray, anchors: FloatArray, n_anchors: int, exponent: int
) -> FloatArray:
    """Return the similarities to anchors, all but the largest set to zero, of unit norm."""
    similarity = np.maximum(vectors @ anchors.T, 0)
    n_anchors = min(n_anchors, len(anchors))
    threshold = np.partition(similarity, -n_anchors, axis=1)[:, -n_anchors, None]
    return unit_rows(np.where(similarity >= threshold, similarity, 0) ** exponent)


def _print(rows: list[Row], names: tuple[str, ...]) -> None:
    for name in names:
        set_rows = [row for row in rows if row.name == name]
        methods = list(dict.fromkeys(row.method for row in set_rows))
        means = {
            method: np.mean(
                [
                    (r.recall.text_to_image, r.recall.image_to_text, r.seconds)
                    for r in set_rows
                    if r.method == method
                ],
                axis=0,
            )
            for method in methods
        }
        peers = [
            means[m] for m in methods if not m.startswith("aligned") and HUB_CORRECTED not in m
        ]
        best = np.max(peers, axis=0)
        counts = set_rows[0].recall
        print(
            f"\n{name}: {counts.texts} texts, {counts.images} pictures held out; chance "
            f"{counts.chance_text_to_image:.3f} and {counts.chance_image_to_text:.3f}; mean of "
            f"{len({r.seed for r in set_rows})} seeds; the target is {TARGET} times the best peer"
        )
        print_table(
            ("method", "text to image", "of best", "image to text", "of best", "training s"),
            [
                (
                    method,
                    f"{text_to_image:.3f}",
                    f"{text_to_image / best[0]:.2f}",
                    f"{image_to_text:.3f}",
                    f"{image_to_text / best[1]:.2f}",
                    f"{seconds:.0f}",
                )
                for method, (text_to_image, image_to_text, seconds) in means.items()
            ],
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--alone", action="store_true", help="leave out the joint heads of all sets"
    )
    parser.add_argument("--work", type=Path, default=Path("alignment-work"))
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
