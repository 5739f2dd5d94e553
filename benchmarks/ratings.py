"""Predicted ratings beside scikit-surprise, tuned on val and reported on test.

``python benchmarks/ratings.py`` (half an hour on two cores; extra ``peers``; data: ISTHMUS_DATA)

Two ways to hide ratings of MovieLens: a tenth at random, and all ratings of a tenth of the users
but 0, 1, 3 or 5. In the second the peers, which know users by their ids, are trained anew with the
ratings shown (and tuned where 3 are); Isthmus is trained once without these users, and gets the
ratings as histories.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common.rating_splits import (
    Films,
    Part,
    few_shot_split,
    joined,
    packed,
    random_split,
    read_films,
)
from common.surprise_raters import Settings as PeerSettings
from common.surprise_raters import fit, grids
from common.tables import print_heading, print_table, write_json

from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.neighbours import NeighbourSettings
from isthmus.retrieval.ratings.weights import ComponentWeights

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data")) / "movielens_posters"
KNOWN = (20, 50, 100, 300)
REFERENCE = "SVD"
NO_NEIGHBOURS = NeighbourSettings(content=0.0, shrink=1e12)

Errors = npt.NDArray[np.float64]
Build = Callable[[Part], RatingModel]


@dataclass(frozen=True)
class Measured:
    """The errors of one system on one part, and the seconds to train and to predict."""

    errors: Errors
    seconds: tuple[float, float]


def tune(part: Part, names: list[str], seed: int) -> dict[str, PeerSettings]:
    """Return the settings of each peer with the least RMSE on a part of val."""
    chosen = {}
    for name in names:
        trials = []
        for settings in grids()[name]:
            trials.append((rmse(measure_peer(name, settings, part, seed).errors), settings))
            print(f"  {name} {settings}: {trials[-1][0]:.4f}", flush=True)
        chosen[name] = min(trials, key=lambda trial: trial[0])[1]
    return chosen


def measure_peer(name: str, settings: PeerSettings, part: Part, seed: int) -> Measured:
    """Train a peer on a part, with the histories, and ask it."""
    start = time.perf_counter()
    predict = fit(name, settings, joined(part.train, part.question.histories), seed)
    trained = time.perf_counter()
    found = predict(part.question.pairs)
    seconds = (trained - start, time.perf_counter() - trained)
    return Measured(found - part.question.truth, seconds)


def measure_model(model: RatingModel, part: Part, trained: float) -> Measured:
    """Ask a rating model that was trained in so many seconds."""
    histories, asked = packed(part.question)
    start = time.perf_counter()
    found = np.concatenate(model.predict(histories, asked))
    return Measured(found - part.question.truth, (trained, time.perf_counter() - start))


def whole_and_parts(
    part: Part, vectors: npt.NDArray[np.float32], seed: int, whole_only: bool
) -> dict[str, Any]:
    """Train the model, and the same without one of its parts; give models and seconds."""
    domains = np.zeros(len(vectors), np.int64)
    start = time.perf_counter()
    whole = RatingModel.fit(part.train, vectors, domains, seed=seed)
    out = {"Isthmus": (whole, time.perf_counter() - start)}
    out["- weights"] = (replace(whole, weights=ComponentWeights({})), 0.0)
    how = whole.settings
    lesser = {
        "- neighbours": (replace(how, neighbours=NO_NEIGHBOURS), vectors),
        "- factors": (replace(how, factors=0), vectors),
        "- content": (how, vectors[:, :0]),
    }
    for name, (settings, content) in ({} if whole_only else lesser).items():
        start = time.perf_counter()
        own = RatingModel.fit(part.train, content, domains, settings=settings, seed=seed)
        out[name] = (own, time.perf_counter() - start)
    return out


def rmse(errors: Errors) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt((errors**2).mean()))


def by_user(rows: npt.NDArray[np.int64], *numbers: Errors) -> Errors:
    """Return the sums of numbers over the rows of each user with any, and the number of rows."""
    users = np.unique(rows, return_inverse=True)[1]
    return np.stack([*(np.bincount(users, own) for own in numbers), np.bincount(users)], axis=1)


def figures(errors: Errors, reference: Errors, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return RMSE, MAE, and RMSE less the reference's, with intervals over resampled users."""
    sums = by_user(rows, errors**2, np.abs(errors), reference**2)
    means = resampled_means(sums)
    root, other = np.sqrt(means[:, 0] / means[:, 3]), np.sqrt(means[:, 2] / means[:, 3])
    return {
        "rmse": (rmse(errors), *interval(root)),
        "mae": (float(np.abs(errors).mean()), *interval(means[:, 1] / means[:, 3])),
        "less": (rmse(errors) - rmse(reference), *interval(root - other)),
    }


def show(part: Part, measured: dict[str, Measured]) -> dict[str, Any]:
    """Print the table of one part, and give it."""
    rows, values = part.question.pairs.rows, part.question.truth
    print_heading(f"{part.name}: {len(values):,} ratings of {len(np.unique(rows))} users")
    reference = measured[REFERENCE].errors
    found = {name: figures(own.errors, reference, rows) for name, own in measured.items()}
    table = [
        [name, *map(_figure, own.values()), *(f"{s:.1f}" for s in measured[name].seconds)]
        for name, own in found.items()
    ]
    heads = ["", "RMSE", "MAE", f"RMSE less {REFERENCE}'s", "train s", "predict s"]
    print_table(heads, table)
    return found


def show_by_known(part: Part, measured: dict[str, Measured]) -> None:
    """Print RMSE by how many ratings of the user are known."""
    known = part.question.histories.user_counts[part.question.pairs.rows]
    group = np.searchsorted(KNOWN, known)
    names = [f"to {KNOWN[0]}", *(f"to {k}" for k in KNOWN[1:]), f"over {KNOWN[-1]}"]
    print_heading("RMSE by known ratings of the user")
    there = [g for g in range(len(names)) if (group == g).any()]
    table = [
        [name, *(f"{rmse(own.errors[group == g]):.4f}" for g in there)]
        for name, own in measured.items()
    ]
    print_table(["", *(f"{names[g]} ({(group == g).sum():,})" for g in there)], table)


def measure_split(
    parts: list[Part],
    peers: dict[str, PeerSettings],
    vectors: npt.NDArray[np.float32],
    seed: int,
    whole_only: bool,
) -> dict[str, Any]:
    """Measure all systems on parts with one train table."""
    models = whole_and_parts(parts[0], vectors, seed, whole_only)
    out: dict[str, Any] = {"chosen": asdict(models["Isthmus"][0].settings), "peers": peers}
    print(out, flush=True)
    for part in parts:
        mean = part.question.truth - part.train.values.mean()
        measured = {"mean": Measured(-mean, (0.0, 0.0))}
        for name, settings in peers.items():
            measured[name] = measure_peer(name, settings, part, seed)
        for name, (model, seconds) in models.items():
            measured[name] = measure_model(model, part, seconds)
        out[part.name] = show(part, measured)
        show_by_known(part, measured)
    return out


def vectors_of(films: Films, cache: Path | None) -> npt.NDArray[np.float32]:
    """Encode titles and genres, or read what was encoded before."""
    if cache is not None and cache.exists():
        return np.asarray(np.load(cache), np.float32)
    from isthmus import load_encoder

    vectors = np.asarray(load_encoder("local/text").encode(films.texts), np.float32)
    if cache is not None:
        np.save(cache, vectors)
    return vectors


def main() -> None:
    """Tune on val, measure once on test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--vectors", type=Path, help="file that keeps the encoded titles (.npy)")
    parser.add_argument("--split", choices=["val", "test"], default="test", help="to report")
    parser.add_argument("--hidden", nargs="+", default=["random", "few-shot"])
    parser.add_argument("--tuned", type=Path, help="JSON of settings of peers by way of hiding")
    parser.add_argument("--whole-only", action="store_true", help="no model without a part")
    parser.add_argument("--peers", nargs="+", default=list(grids()), choices=list(grids()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("ratings.json"))
    own = parser.parse_args()
    films = read_films(own.data)
    vectors = vectors_of(films, own.vectors)
    splits = {
        "random": {split: [part] for split, part in random_split(films, own.seed).items()},
        "few-shot": few_shot_split(films, own.seed),
    }
    tuned = {} if own.tuned is None else json.loads(own.tuned.read_text())
    out = {}
    for name in own.hidden:
        val, reported = splits[name]["val"], splits[name][own.split]
        print_heading(f"{name}: tuning on val", ("numpy", "scipy", "scikit-surprise"))
        peers = tuned.get(name) or tune(val[len(val) // 2], own.peers, own.seed)
        out[name] = measure_split(reported, peers, vectors, own.seed, own.whole_only)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"seed {own.seed}, OMP_NUM_THREADS {threads}, surprise on one thread")
    write_json(own.out, out)


def _figure(own: tuple[float, float, float]) -> str:
    return f"{own[0]:.4f} [{own[1]:.4f}, {own[2]:.4f}]"


if __name__ == "__main__":
    main()
