"""One tool on one split of one protocol, in a process of its own; see `recommendation.py`."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from recommenders import make_method
from recommenders.method import LENGTH, Answer, Data, processor_seconds, tune

from isthmus.evaluation.lists import clean_lists, coverage, hit_matrix, novelty
from isthmus.evaluation.task import Task, read_protocol
from isthmus.numerics.metrics import ndcg, recall

VECTORS = "item_vectors.npz"  # beside the space, which holds them by names


def answer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tune on validation, unless settings are given, and answer the split."""
    method = make_method(arguments.tool)
    task = _task(arguments, arguments.split)
    if method.kinds and task.kind not in method.kinds:
        return {"tool": arguments.tool, "not for this kind": True}
    if method.needs == "space":
        method.resources = {"space": arguments.space}
    elif method.needs == "vectors":
        method.resources = {"vectors": _vectors(arguments.space)}
    start = processor_seconds()
    if arguments.settings is not None:
        tuned = json.loads(arguments.settings.read_text())
        settings, trials, tuning_s = tuned["settings"], tuned["trials"], tuned["tuning_s"]
    else:
        val = task if task.split == "val" else _task(arguments, "val")
        settings, trials = tune(method, Data.of(val), val, arguments.max_settings)
        tuning_s = processor_seconds() - start
    answered = method.answer(Data.of(task), task, settings, LENGTH)
    return _measured(task, answered) | {
        "tool": arguments.tool,
        "split": task.split,
        "task": task.digest,
        "settings": settings,
        "trials": trials,
        "tuning_s": tuning_s,
        "model_bytes": method.bytes(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {name: _version(name) for name in (*method.packages, "numpy")},
    }


def _measured(task: Task, answered: Answer) -> dict[str, Any]:
    lists = clean_lists(task, answered.lists, LENGTH)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(lists, truths, LENGTH)
    n_relevant = np.array([len(truth) for truth in truths], np.int64)
    found = ndcg(hits, n_relevant, 10)
    return {
        "mean ndcg": float(found.mean()),
        "users": [user.user_id for user in task.users],
        "ndcg@10": found.round(6).tolist(),
        "recall@200": recall(hits, n_relevant, 200).round(6).tolist(),
        "coverage@10": coverage(lists, len(task.candidates), 10),
        "novelty@10": novelty(lists, task.popularity, task.train_users, 10),
        "fit_s": answered.fit_s,
        "lists_s": answered.lists_s,
    }


def _task(arguments: argparse.Namespace, split: Any) -> Task:
    task = read_protocol(arguments.protocol, split)
    return replace(task, users=task.users[: arguments.max_users])


def _vectors(space: Path) -> dict[str, Any]:
    """Return the content vectors of a space's items, by which tools see the same contents."""
    file = space.with_name(f"{space.name}.{VECTORS}")
    if not file.exists():
        from isthmus import Space
        from isthmus.retrieval.search.examples import item_vectors

        opened = Space.open(space).opened
        view = opened.view()
        ids = np.array(view.snapshot.column("item_id").to_pylist(), str)
        vectors = item_vectors(view, view.find(ids.tolist()), opened.vector_weights)
        np.savez(file, item_ids=ids, vectors=np.asarray(vectors, np.float32))
    with np.load(file) as stored:
        return {name: stored[name] for name in ("item_ids", "vectors")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def main() -> None:
    """Write the result of one job; the file appears whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool")
    parser.add_argument("protocol", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=["val", "test"], required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--settings", type=Path, help="result of validation, with its settings")
    parser.add_argument("--max-settings", type=int)
    parser.add_argument("--max-users", type=int)
    arguments = parser.parse_args()
    try:
        result = answer(arguments)
    except ImportError as error:
        sys.exit(f"absent: {error}")
    partial = arguments.out.with_suffix(".part")
    partial.write_text(json.dumps(result))
    partial.replace(arguments.out)


if __name__ == "__main__":
    main()
