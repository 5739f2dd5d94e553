"""Text finds pictures, pictures find text: recall@10 on pairs held out, beside closed forms.

``OMP_NUM_THREADS=1 python benchmarks/alignment.py`` (data: ISTHMUS_DATA; vectors are encoded once
and kept in ``--work``; after that some minutes a seed on one core)

Three sets on the features of ``local``: fashion titles, film posters (title and genres), and
Flickr8k captions (five a picture). A fifth of each set is held out by seed, with everything that is
linked to it by a text or a picture; each of the others is learned from, a tenth of it to tune and
to stop by. Every text that differs asks once, and any picture that some pair joins with that very
text is right (fashion titles repeat); the same the other way. Peers are tuned on the same tenth:
regularised CCA over ridges, lengths and the power of its correlations, orthogonal Procrustes over
lengths, ASIF-style relative representations (Norelli et al., "ASIF: coupled data turns unimodal
models to multimodal without training", NeurIPS 2023) over anchors kept and exponents.

CCA and the heads are measured once more as ``search(..., hubness_correction=1)`` ranks them: what
is near to every query gives way, by contents that were learned from, never by those held out.
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
KEPT = (50, 200, 800, 3_200)
EXPONENTS = (1, 2, 4, 8)
TARGET = 1.10
CORRECTED = ", hubs corrected"

Sides = tuple[FloatArray, FloatArray]
Method = Callable[[Pairs], Sides]


@dataclass(frozen=True)
class Row:
    """What one method reached on one set with one seed, and the seconds that it took to learn."""

    name: str
    method: str
    seed: int
    found: CrossModalRecall
    seconds: float
    settings: str


def main() -> None:
    """Measure every method on every set and seed."""
    asked = _arguments()
    pairs = {name: read_pairs(asked.work, (name,)) for name in asked.sets}
    print_heading("alignment: recall@10 on pairs held out", ("numpy", "torch", "scipy"))
    rows = []
    for seed in range(asked.seeds):
        for row in _measure(pairs, seed, together=not asked.alone):
            ways = f"{row.found.text_to_image:.3f} {row.found.image_to_text:.3f}"
            print(f"{row.name}, {row.method}, seed {seed}: {ways} ({row.settings})", flush=True)
            rows.append(row)
    _print(rows, asked.sets)
    if asked.out:
        write_json(asked.out, [{**vars(r), "found": r.found.as_dict()} for r in rows])


def _measure(pairs: dict[str, Pairs], seed: int, *, together: bool) -> Iterator[Row]:
    parts = {name: own.split(0.2, 100 + seed) for name, own in pairs.items()}
    for name, (known, test) in parts.items():
        learned, judged = known.split(0.1, seed)
        for method, make in (("CCA", _cca), ("Procrustes", _procrustes), ("ASIF", _asif)):
            start = time.perf_counter()
            answer, how = _best(make(learned), judged)
            seconds = time.perf_counter() - start
            yield Row(name, method, seed, _cross(answer, test), seconds, how)
            if method == "CCA":
                answer = _corrected(answer, known)
                yield Row(name, f"{method}{CORRECTED}", seed, _cross(answer, test), seconds, how)
        yield from _learned(name, learned, judged, test, seed)
    if together:
        yield from _learned_together(parts, seed)


def _learned_together(parts: dict[str, tuple[Pairs, Pairs]], seed: int) -> Iterator[Row]:
    together = [part.split(0.1, seed) for part, _ in parts.values()]
    learned, judged = (join_pairs([split[side] for split in together]) for side in (0, 1))
    start = time.perf_counter()
    settings = AlignmentSettings(dim=480, seed=seed)
    start_heads = closed_form(learned, judged, settings.dim)[0]
    heads, told = train_sets(start_heads, learned, judged, settings)
    seconds = time.perf_counter() - start
    for name, (_, test) in parts.items():
        found = recall_by_set(heads, test)[name]
        yield Row(name, "aligned, one head for all sets", seed, found, seconds, str(told))


def _learned(name: str, own: Pairs, judged: Pairs, test: Pairs, seed: int) -> Iterator[Row]:
    start = time.perf_counter()
    settings = replace(AlignmentSettings(), seed=seed)
    heads, told = train_from(closed_form(own, judged, settings.dim)[0], own, judged, settings)
    seconds = time.perf_counter() - start

    def answer(pairs: Pairs) -> Sides:
        return heads[0](pairs.text), heads[1](pairs.image)

    yield Row(name, "aligned", seed, _cross(answer, test), seconds, str(told))
    found = _cross(_corrected(answer, own), test)
    yield Row(name, f"aligned{CORRECTED}", seed, found, seconds, str(told))


def _corrected(method: Method, known: Pairs) -> Method:
    """Return a method whose inner products are less by half of how near a hub is to queries.

    One column more tells what each side loses as an answer; what it loses as a query is the same
    for every answer.
    """
    text, image = method(known)
    texts, images = (
        np.random.default_rng(0).permutation(side[np.unique(ids, return_index=True)[1]])[
            :MAX_QUERIES
        ]
        for side, ids in ((text, known.text_ids), (image, known.image_ids))
    )

    def answer(pairs: Pairs) -> Sides:
        text, image = method(pairs)
        one = np.ones((len(pairs), 1), np.float32)
        lost = (
            mean_similarity_to_nearest(text, images)[:, None] / 2,
            mean_similarity_to_nearest(image, texts)[:, None] / 2,
        )
        return np.hstack([text, one, -lost[0]]), np.hstack([image, -lost[1], one])

    return answer


def _best(methods: Iterator[tuple[str, Method]], judged: Pairs) -> tuple[Method, str]:
    """Return the method that is best on the pairs to tune by, and its settings."""
    reached = [(_cross(method, judged).mean, how, method) for how, method in methods]
    _, how, method = max(reached, key=lambda one: one[0])
    return method, how


def _cross(method: Method, pairs: Pairs) -> CrossModalRecall:
    return cross_modal_recall(*method(pairs), pairs.text_ids, pairs.image_ids)


def _cca(learned: Pairs) -> Iterator[tuple[str, Method]]:
    known = Correlations(learned.text, learned.image)
    for ridges, length, power in itertools.product(
        itertools.product(RIDGES[::2], RIDGES[::2]), LENGTHS, POWERS
    ):
        text, image = known.cca(length, *ridges, power)
        yield (
            f"ridges {ridges}, length {length}, power {power}",
            lambda p, t=text, i=image: (t(p.text), i(p.image)),
        )


def _procrustes(learned: Pairs) -> Iterator[tuple[str, Method]]:
    known = Correlations(learned.text, learned.image)
    for length in LENGTHS:
        text, image = known.procrustes(length)
        yield f"length {length}", lambda p, t=text, i=image: (t(p.text), i(p.image))


def _asif(learned: Pairs) -> Iterator[tuple[str, Method]]:
    for kept, exponent in itertools.product(KEPT, EXPONENTS):
        yield (
            f"{kept} anchors, exponent {exponent}",
            lambda p, k=kept, e=exponent: (
                _relative(p.text, learned.text, k, e),
                _relative(p.image, learned.image, k, e),
            ),
        )


def _relative(vectors: FloatArray, anchors: FloatArray, kept: int, exponent: int) -> FloatArray:
    """Return the likenesses of vectors to anchors, all but the largest set to zero."""
    likeness = np.maximum(vectors @ anchors.T, 0)
    kept = min(kept, len(anchors))
    least = np.partition(likeness, -kept, axis=1)[:, -kept, None]
    return unit_rows(np.where(likeness >= least, likeness, 0) ** exponent)


def _print(rows: list[Row], names: tuple[str, ...]) -> None:
    for name in names:
        own = [row for row in rows if row.name == name]
        methods = list(dict.fromkeys(row.method for row in own))
        means = {
            method: np.mean(
                [
                    (r.found.text_to_image, r.found.image_to_text, r.seconds)
                    for r in own
                    if r.method == method
                ],
                axis=0,
            )
            for method in methods
        }
        peers = [means[m] for m in methods if not m.startswith("aligned") and CORRECTED not in m]
        best = np.max(peers, axis=0)
        chance = own[0].found
        print(
            f"\n{name}: {chance.texts} texts, {chance.images} pictures held out; chance "
            f"{chance.chance_text_to_image:.3f} and {chance.chance_image_to_text:.3f}; mean of "
            f"{len({r.seed for r in own})} seeds; the target is {TARGET} times the best peer"
        )
        print_table(
            ("method", "text to image", "of best", "image to text", "of best", "learned in s"),
            [
                (
                    method,
                    f"{there:.3f}",
                    f"{there / best[0]:.2f}",
                    f"{back:.3f}",
                    f"{back / best[1]:.2f}",
                    f"{seconds:.0f}",
                )
                for method, (there, back, seconds) in means.items()
            ],
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="no heads of all sets together")
    parser.add_argument("--work", type=Path, default=Path("alignment-work"))
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
