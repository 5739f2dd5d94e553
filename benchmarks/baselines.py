"""Baselines on protocol folders, each tuned on val and evaluated on val and test.

``python benchmarks/baselines.py --protocols FOLDER [FOLDER ...] --out baselines``

Each folder holds train, val, test and candidates as Parquet (see `read_protocol`). Writes the
evaluation as JSON and HTML, and prints the tuned settings.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from isthmus.evaluation.baselines.tuning import default_grids, tuned
from isthmus.evaluation.evaluate import evaluate
from isthmus.evaluation.html_report import write_html
from isthmus.evaluation.report import Evaluation
from isthmus.evaluation.task import read_protocol
from isthmus.evaluation.terminal import show_evaluation
from isthmus.progress import progress_bar


def measure(folder: Path, names: list[str] | None) -> Evaluation:
    """Tune on a folder's val, and evaluate on its val and test."""
    val, test = read_protocol(folder, "val"), read_protocol(folder, "test")
    grids = default_grids()
    systems, chosen = {}, {}
    for name in names or grids:
        with progress_bar(f"tuning {name}", len(grids[name]), show=True) as advance:
            tuning = tuned(grids[name], val, advance=advance)
        systems[name] = tuning.system
        chosen[name] = {
            "settings": tuning.system.baseline.settings(),
            "trials": [asdict(trial) for trial in tuning.trials],
        }
        print(f"{folder.name}: {tuning.score:.4f} {tuning.system.baseline}", flush=True)
    baselines = [name for name in systems if name != "random"]
    return evaluate([val, test], systems, baselines=baselines, settings=chosen, show=True)


def main() -> None:
    """Evaluate the baselines on every folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocols", type=Path, nargs="+", required=True)
    parser.add_argument("--only", nargs="+", choices=list(default_grids()))
    parser.add_argument("--out", type=Path, help="folder for JSON and HTML")
    arguments = parser.parse_args()
    for folder in arguments.protocols:
        evaluation = measure(folder, arguments.only)
        show_evaluation(evaluation)
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            evaluation.write(arguments.out / f"{folder.name}.json")
            write_html(evaluation, arguments.out / f"{folder.name}.html", folder.name)


if __name__ == "__main__":
    main()
