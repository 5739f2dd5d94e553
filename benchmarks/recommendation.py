"""Isthmus' defaults and the usual tools, each tuned on validation, on protocol folders.

``python benchmarks/recommendation.py --protocols FOLDER ... --items items.parquet --cache C``

Each folder holds train, val, test and candidates as Parquet (see `read_protocol`); a folder of such
folders stands for all of them. ``--items`` are the items of these protocols (item_id, domain, and
what ``--text`` names), from which a space is built once in the cache; ``--space`` takes a space
that is there. Every tool runs in a process of its own with one thread: it is tuned on the
validation users, and answers validation, or the test users with ``--split test``. Results are files
of the cache, one a protocol, tool and split; a run that was stopped goes on where it stopped, and
``--again`` measures some tools anew. Each answer to a test split is noted in ``test_looks.log`` of
the cache, and the report says how many there were.

The best tool of a protocol is the one with the best NDCG@10 on validation. Isthmus is compared with
it on the same users: ratios with 95 % intervals, and Fisher's randomisation test.

``--cross-validate 5`` takes all users who can be held out in five folds, for protocols with few
users; with ``--split val`` the users of the test split stay out of it.

LightFM needs an environment of its own: ``--python LightFM=PATH`` names its Python, which has
lightfm-next, numpy, scipy and pyarrow. A tool whose library is missing is reported as absent.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.protocol_folds import write_folds
from common.recommendation_tables import show_protocol, show_summary
from recommenders import METHODS, OURS, make_method

from isthmus.evaluation.task import Split, read_protocol

LOG = "test_looks.log"
WORKER = Path(__file__).parent / "recommendation_worker.py"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """What is the same for every job of a run."""

    cache: Path
    space: Path
    split: Split
    pythons: dict[str, str]
    max_settings: int | None
    max_users: int | None
    again: frozenset[str] = frozenset()
    done: set[Path] = field(default_factory=set)  # measured by this run

    def job(self, folder: Path, tool: str, split: Split) -> dict[str, Any]:
        """Return the result of a tool on a split of a protocol: from the cache, or measured now."""
        file = self.file(folder, tool, split)
        if file.exists() and (tool not in self.again or file in self.done):
            return dict(json.loads(file.read_text()))
        self.done.add(file)
        file.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        python = self.pythons.get(tool, sys.executable)
        command = [python, str(WORKER), tool, str(folder), str(file)]
        command += ["--split", split, "--space", str(self.space)]
        if split == "test":
            command += ["--settings", str(self.file(folder, tool, "val"))]
            if self.cache not in folder.parents:  # folds are noted as one
                self.note(f"{folder.parent.name}/{folder.name} {tool}")
        for option, value in (("settings", self.max_settings), ("users", self.max_users)):
            command += [] if value is None else [f"--max-{option}", str(value)]
        environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
        paths = (str(Path(__file__).parent), str(Path(__file__).parents[1]))
        environment["PYTHONPATH"] = os.pathsep.join((*paths, environment.get("PYTHONPATH", "")))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not file.exists():
            lines = (done.stderr.strip() or "no message").splitlines()
            return {"tool": tool, "error": lines[-1]}
        result: dict[str, Any] = json.loads(file.read_text())
        return result

    def file(self, folder: Path, tool: str, split: str) -> Path:
        """Return where the result of a tool on a split is."""
        name = tool.replace(" ", "_")
        limited = self.max_settings is not None or self.max_users is not None
        results = self.cache / ("quick results" if limited else "results")
        return results / folder.parent.name / folder.name / f"{name}-{split}.json"

    def looks(self) -> int:
        """Return how many answers to test splits were measured, by whatever run."""
        log = self.cache / LOG
        return len(log.read_text().splitlines()) if log.exists() else 0

    def note(self, what: str) -> None:
        """Note that test users are looked at."""
        with (self.cache / LOG).open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {what}\n")


def measure(run: Run, folder: Path, tools: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the results of all tools on the split of a run, with their validation score."""
    kind = read_protocol(folder, "val").kind
    results = {}
    for tool in tools:
        val = run.job(folder, tool, "val")
        result = val if run.split == "val" or "error" in val else run.job(folder, tool, "test")
        if not val.get("not for this kind"):
            results[tool] = result | {"validation": val.get("mean ndcg"), "kind": kind}
            outcome = result.get("error") or f"{result['mean ndcg']:.4f}"
            print(
                f"{folder.parent.name}/{folder.name} {tool}: {outcome}", file=sys.stderr, flush=True
            )
    return results


def measure_folds(
    run: Run, folder: Path, tools: Sequence[str], folds: int
) -> dict[str, dict[str, Any]]:
    """Return the results of all tools on the users of all folds of a protocol."""
    out = run.cache / "folds" / run.split / folder.parent.name / folder.name
    if run.split == "test":
        run.note(f"{folder.parent.name}/{folder.name} {folds} folds with the test users")
    of_folds = [
        measure(replace(run, split="test"), fold, tools)
        for fold in write_folds(folder, out, folds, with_test=run.split == "test")
    ]
    together: dict[str, dict[str, Any]] = {}
    for tool in of_folds[0]:
        parts = [fold[tool] for fold in of_folds]
        failed = [part for part in parts if "error" in part]
        together[tool] = failed[0] if failed else _joined(parts)
    return together


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of folds as one: users after each other, means of everything else."""
    whole = dict(parts[0])
    for name, value in parts[0].items():
        values = [part[name] for part in parts]
        if isinstance(value, list) and name != "trials":
            whole[name] = [one for some in values for one in some]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            whole[name] = sum(values) / len(values)
    return whole


def protocol_folders(given: Sequence[Path]) -> list[Path]:
    """Return the protocols that are given, or that are within what is given."""
    found = [file.parent for path in given for file in sorted(path.rglob("train.parquet"))]
    if not found:
        raise SystemExit("there is no train.parquet in what --protocols names")
    return found


def build_space(space: Path, items: Path, text: str) -> None:
    """Make a space of the items of the protocols, with the encoder of texts that is the default."""
    command = [str(Path(sys.executable).with_name("isthmus"))]
    subprocess.run([*command, "create", "--space", str(space)], check=True)
    options = ["--space", str(space), "--text", text]
    subprocess.run([*command, "upsert", str(items), *options], check=True)


def main() -> None:
    """Run what is missing in the cache, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocols", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of results")
    parser.add_argument("--space", type=Path, help="a space of the items; else it is built")
    parser.add_argument("--items", type=Path, help="the items, to build a space of")
    parser.add_argument("--text", default="{title}", help="template of their texts")
    parser.add_argument("--tools", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--again", nargs="+", choices=list(METHODS), default=[])
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--cross-validate", type=int, metavar="FOLDS")
    parser.add_argument("--python", nargs="+", default=[], metavar="TOOL=PATH")
    parser.add_argument("--max-settings", type=int, help="of each grid, for a quick look")
    parser.add_argument("--max-users", type=int, help="users to recommend to, for a quick look")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    space = (arguments.space or cache / "items.space").resolve()
    if not space.exists() and any(make_method(tool).needs for tool in arguments.tools):
        if arguments.items is None:
            raise SystemExit(f"there is no space {space}; give one with --space, or --items")
        build_space(space, arguments.items, arguments.text)
    run = Run(
        cache=cache,
        space=space,
        split=arguments.split,
        pythons=dict(pair.split("=", 1) for pair in arguments.python),
        max_settings=arguments.max_settings,
        max_users=arguments.max_users,
        again=frozenset(arguments.again),
    )
    by_protocol = {}
    for folder in protocol_folders(arguments.protocols):
        folder = folder.resolve()
        if arguments.cross_validate:
            results = measure_folds(run, folder, arguments.tools, arguments.cross_validate)
        else:
            results = measure(run, folder, arguments.tools)
        by_protocol[f"{folder.parent.name}/{folder.name}"] = results
    for name, results in by_protocol.items():
        show_protocol(name, results, OURS)
    show_summary(by_protocol, OURS)
    print(f"\nSplit: {arguments.split}. Answers to test splits in this cache: {run.looks()}.")


if __name__ == "__main__":
    main()
