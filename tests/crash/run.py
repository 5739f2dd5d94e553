"""Stop every verb at every system call: ``python -m tests.crash.run [VERB ...]``."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.crash.children import build, decode_here, in_child_with_imports
from tests.crash.state import answers, open_space
from tests.crash.trial import Trial
from tests.crash.verbs import VERBS, published

SHOWN = 400  # characters of a problem
OFTEN = 50  # stops after which a line is printed
MEMORY = Path("/dev/shm")


def main() -> int:
    """Run, print a line a verb, and return 1 if anything diverged."""
    options = parsed()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None  # no disk is waited for
    with tempfile.TemporaryDirectory(prefix="crash-", dir=memory) as folder:
        library = build(Path(folder))
        if library is None:
            print("no C compiler: nothing was run")
            return 0
        decode_here()
        in_child_with_imports(lambda: everything(Path(folder) / "imported"))
        names = list(options.verbs or VERBS)
        waiting = queue(len(names))
        workers = [
            start(names, waiting, library, Path(folder) / str(number), options)
            for number in range(options.workers)
        ]
        diverged = sum(os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) != 0 for one in workers)
    print("verbs diverged" if diverged else "0 divergences")
    return 1 if diverged else 0


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verbs", nargs="*", help=f"of: {', '.join(VERBS)}; by default all")
    parser.add_argument("--every", type=int, default=1, help="try every so manyth stop only")
    parser.add_argument("--first", type=int, default=1, help="the first stop to try")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes; each takes a verb at a time"
    )
    parser.add_argument("--at", type=int, help="send a signal at this call, and nothing else")
    return parser.parse_args()


def everything(path: Path) -> None:
    """Do what imports all that the verbs import."""
    published(path)
    answers(path)
    open_space(path).add_interactions([{"user_id": "u1", "item_id": "i1"}])


def queue(length: int) -> int:
    """Return a pipe that holds the numbers below a length, a byte each; each is read once."""
    reading, writing = os.pipe()
    os.write(writing, bytes(range(length)))
    os.close(writing)
    return reading


def start(
    names: Sequence[str], waiting: int, library: Path, work: Path, options: argparse.Namespace
) -> int:
    """Try the next verb of a queue until none is left, in a process; return its number."""
    worker = os.fork()
    if worker:
        return worker
    status = 0
    try:
        while following := os.read(waiting, 1):
            if tried(names[following[0]], library, work, options):
                status = 1
    except BaseException:
        traceback.print_exc()
        status = 2
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def tried(name: str, library: Path, work: Path, options: argparse.Namespace) -> int:
    """Try one verb and print what comes out; return the number of divergences."""
    began = time.monotonic()
    work.mkdir()
    trial = Trial(VERBS[name], library, work)
    counts, diverged = Counter[str](), 0
    for what, kind, problems in tries(trial, options):
        counts[kind] += 1
        if problems:
            diverged += 1
            print(f"  {name}, {what}: {len(problems)} problems: {problems[0][-SHOWN:]}", flush=True)
        if counts.total() % OFTEN == 0:
            print(f"  {name}: {counts.total()} stops, {diverged} divergences so far", flush=True)
    losses = sum(counts.values()) - counts["kill"]
    print(
        f"{name}: {trial.undisturbed.calls} calls, {counts['kill']} kills, "
        f"{losses} losses of power, {diverged} divergences, "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    shutil.rmtree(work)
    return diverged


def tries(trial: Trial, options: argparse.Namespace) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what was tried, its kind, and what is wrong."""
    if options.at:
        yield f"killed at {options.at}", "kill", trial.killed_at(options.at) or []
        return
    for stop, problems in trial.all_stops(options.first, options.every):
        yield f"{stop.kind} after {stop.call}", stop.kind, problems


if __name__ == "__main__":
    sys.exit(main())
