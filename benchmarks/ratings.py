"""Rating prediction compared with scikit-surprise, tuned on val and reported on test.

``python benchmarks/ratings.py`` (half an hour on two cores; extra ``peers``; data: ISTHMUS_DATA)

Two splits of MovieLens ratings: a random tenth is held out, or all ratings of a tenth of the users
except 0, 1, 3 or 5. In the second, the peers, which identify users by id, are trained again with
the known ratings (and tuned with 3 known ratings); Isthmus is trained once without these users, and
gets the known ratings as histories.
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
    RatingTask,
    few_shot_split,
    merge_ratings,
    model_inputs,
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
KNOWN_RATINGS_BOUNDS = (20, 50, 100, 300)
REFERENCE = "SVD"
NO_NEIGHBOURS = NeighbourSettings(content=0.0, shrink=1e12)

Errors = npt.NDArray[np.float64]
Build = Callable[[RatingTask], RatingModel]


@dataclass(frozen=True)
class Measured:
    """The errors of one system on one task, and the seconds of training and prediction."""

    errors: Errors
    seconds: tuple[float, float]


def tune(task: RatingTask, names: list[str], seed: int) -> dict[str, PeerSettings]:
    """Return the settings of each peer with the smallest RMSE on a val task."""
    chosen = {}
    for name in names:
        trials = []
        for settings in grids()[name]:
            trials.append((rmse(measure_peer(name, settings, task, seed).errors), settings))
            print(f"  {name} {settings}: {trials[-1][0]:.4f}", flush=True)
        chosen[name] = min(trials, key=lambda trial: trial[0])[1]
    return chosen


def measure_peer(name: str, settings: PeerSettings, task: RatingTask, seed: int) -> Measured:
    """Train a peer on a task, with the histories, and measure its predictions."""
    start = time.perf_counter()
    predict = fit(name, settings, merge_ratings(task.train, task.held_out.histories), seed)
    trained = time.perf_counter()
    predicted = predict(task.held_out.pairs)
    seconds = (trained - start, time.perf_counter() - trained)
    return Measured(predicted - task.held_out.truth, seconds)


def measure_model(model: RatingModel, task: RatingTask, trained: float) -> Measured:
    """Measure the predictions of a rating model; `trained` is its training time in seconds."""
    histories, pairs = model_inputs(task.held_out)
    start = time.perf_counter()
    predicted = np.concatenate(model.predict(histories, pairs))
    return Measured(predicted - task.held_out.truth, (trained, time.perf_counter() - start))


def fit_with_ablations(
    task: RatingTask, vectors: npt.NDArray[np.float32], seed: int, skip_ablations: bool
) -> dict[str, Any]:
    """Train the model and its ablations; return models and training seconds by name."""
    domains = np.zeros(len(vectors), np.int64)
    start = time.perf_counter()
    model = RatingModel.fit(task.train, vectors, domains, seed=seed)
    out = {"Isthmus": (model, time.perf_counter() - start)}
    out["- weights"] = (replace(model, weights=ComponentWeights({})), 0.0)
    fitted_settings = model.settings
    ablations = {
        "- neighbours": (replace(fitted_settings, neighbours=NO_NEIGHBOURS), vectors),
        "- factors": (replace(fitted_settings, factors=0), vectors),
        "- content": (fitted_settings, vectors[:, :0]),
    }
    for name, (settings, content) in ({} if skip_ablations else ablations).items():
        start = time.perf_counter()
        ablated = RatingModel.fit(task.train, content, domains, settings=settings, seed=seed)
        out[name] = (ablated, time.perf_counter() - start)
    return out


def rmse(errors: Errors) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt((errors**2).mean()))


def sums_by_user(rows: npt.NDArray[np.int64], *numbers: Errors) -> Errors:
    """Return sums of numbers by user, and the row counts, shape (n_users, n_numbers + 1)."""
    users = np.unique(rows, return_inverse=True)[1]
    return np.stack(
        [*(np.bincount(users, values) for values in numbers), np.bincount(users)], axis=1
    )


def figures(errors: Errors, reference: Errors, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return RMSE, MAE, and the RMSE difference from a reference, with intervals over users."""
    sums = sums_by_user(rows, errors**2, np.abs(errors), reference**2)
    means = resampled_means(sums)
    root, other = np.sqrt(means[:, 0] / means[:, 3]), np.sqrt(means[:, 2] / means[:, 3])
    return {
        "rmse": (rmse(errors), *interval(root)),
        "mae": (float(np.abs(errors).mean()), *interval(means[:, 1] / means[:, 3])),
        "less": (rmse(errors) - rmse(reference), *interval(root - other)),
    }


def show(task: RatingTask, measured: dict[str, Measured]) -> dict[str, Any]:
    """Print the table of one task, and return its figures."""
    rows, values = task.held_out.pairs.rows, task.held_out.truth
    print_heading(f"{task.name}: {len(values):,} ratings of {len(np.unique(rows))} users")
    reference = measured[REFERENCE].errors
    results = {name: figures(entry.errors, reference, rows) for name, entry in measured.items()}
    table = [
        [
            name,
            *map(_with_interval, entry.values()),
            *(f"{s:.1f}" for s in measured[name].seconds),
        ]
        for name, entry in results.items()
    ]
    headers = ["", "RMSE", "MAE", f"RMSE - {REFERENCE}", "train s", "predict s"]
    print_table(headers, table)
    return results


def show_by_known_ratings(task: RatingTask, measured: dict[str, Measured]) -> None:
    """Print RMSE by the number of known ratings of the user."""
    n_known = task.held_out.histories.user_counts[task.held_out.pairs.rows]
    group = np.searchsorted(KNOWN_RATINGS_BOUNDS, n_known)
    names = [
        f"to {KNOWN_RATINGS_BOUNDS[0]}",
        *(f"to {k}" for k in KNOWN_RATINGS_BOUNDS[1:]),
        f"over {KNOWN_RATINGS_BOUNDS[-1]}",
    ]
    print_heading("RMSE by known ratings of the user")
    groups = [g for g in range(len(names)) if (group == g).any()]
    table = [
        [name, *(f"{rmse(result.errors[group == g]):.4f}" for g in groups)]
        for name, result in measured.items()
    ]
    print_table(["", *(f"{names[g]} ({(group == g).sum():,})" for g in groups)], table)


def measure_split(
    tasks: list[RatingTask],
    peers: dict[str, PeerSettings],
    vectors: npt.NDArray[np.float32],
    seed: int,
    skip_ablations: bool,
) -> dict[str, Any]:
    """Measure all systems on tasks with one train table."""
    models = fit_with_ablations(tasks[0], vectors, seed, skip_ablations)
    out: dict[str, Any] = {"chosen": asdict(models["Isthmus"][0].settings), "peers": peers}
    print(out, flush=True)
    for task in tasks:
        mean = task.held_out.truth - task.train.values.mean()
        measured = {"mean": Measured(-mean, (0.0, 0.0))}
        for name, settings in peers.items():
            measured[name] = measure_peer(name, settings, task, seed)
        for name, (model, seconds) in models.items():
            measured[name] = measure_model(model, task, seconds)
        out[task.name] = show(task, measured)
        show_by_known_ratings(task, measured)
    return out


def vectors_of(films: Films, cache: Path | None) -> npt.NDArray[np.float32]:
    """Return the vectors of titles and genres, cached in a file."""
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
    parser.add_argument("--vectors", type=Path, help="cache of the encoded titles (.npy)")
    parser.add_argument("--split", choices=["val", "test"], default="test", help="split to report")
    parser.add_argument("--hidden", nargs="+", default=["random", "few-shot"])
    parser.add_argument("--tuned", type=Path, help="JSON of peers' settings by split")
    parser.add_argument("--whole-only", action="store_true", help="without ablations")
    parser.add_argument("--peers", nargs="+", default=list(grids()), choices=list(grids()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("ratings.json"))
    arguments = parser.parse_args()
    films = read_films(arguments.data)
    vectors = vectors_of(films, arguments.vectors)
    splits = {
        "random": {split: [task] for split, task in random_split(films, arguments.seed).items()},
        "few-shot": few_shot_split(films, arguments.seed),
    }
    tuned = {} if arguments.tuned is None else json.loads(arguments.tuned.read_text())
    out = {}
    for name in arguments.hidden:
        val, reported = splits[name]["val"], splits[name][arguments.split]
        print_heading(f"{name}: tuning on val", ("numpy", "scipy", "scikit-surprise"))
        peers = tuned.get(name) or tune(val[len(val) // 2], arguments.peers, arguments.seed)
        out[name] = measure_split(reported, peers, vectors, arguments.seed, arguments.whole_only)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"seed {arguments.seed}, OMP_NUM_THREADS {threads}, surprise on one thread")
    write_json(arguments.out, out)


def _with_interval(estimate: tuple[float, float, float]) -> str:
    return f"{estimate[0]:.4f} [{estimate[1]:.4f}, {estimate[2]:.4f}]"


if __name__ == "__main__":
    main()
