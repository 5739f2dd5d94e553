"""Stop every verb at every system call: ``python -m tests.crash.run [VERB ...]``."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.crash.children import build, decode_here, import_all
from tests.crash.kills import Trial
from tests.crash.power import lost_power
from tests.crash.state import answers, open_space
from tests.crash.verbs import VERBS, published

SHOWN = 400  # characters of a problem


def everything(path: Path) -> None:
    """Do what imports all that the verbs import."""
    published(path)
    answers(path)
    open_space(path).add_interactions([{"user_id": "u1", "item_id": "i1"}])


def main() -> int:
    """Run, print a line a verb, and return 1 if anything diverged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verbs", nargs="*", help=f"of: {', '.join(VERBS)}; by default all")
    parser.add_argument("--every", type=int, default=1, help="stop at every so manyth call only")
    parser.add_argument("--first", type=int, default=1, help="the first call to stop at")
    parser.add_argument("--no-power", action="store_true", help="no losses of power")
    parser.add_argument("--no-kills", action="store_true", help="no kills")
    parser.add_argument("--at", type=int, help="stop at this call alone")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    diverged = 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        library = build(Path(folder))
        if library is None:
            print("no C compiler: nothing was run")
            return 0
        decode_here()
        import_all(lambda: everything(Path(folder) / "imported"))
        for name in options.verbs or VERBS:
            verb = VERBS[name]
            work = Path(folder) / "work"
            work.mkdir()
            start = time.monotonic()
            trial = Trial(verb, library, work)
            step = verb.every * options.every
            kills = []
            if options.at:
                kills = [(options.at, trial.killed_at(options.at) or [])]
            elif not options.no_kills:
                kills = list(trial.all_kills(1 + (options.first - 1) % step, step))
            losses = [] if options.no_power or options.at else list(lost_power(trial, step))
            wrong = [("kill", call, problems) for call, problems in kills if problems]
            wrong += [("power", call, problems) for call, problems in losses if problems]
            for what, call, problems in wrong:
                print(
                    f"  {what} at {call}: {len(problems)} problems, first: {problems[0][-SHOWN:]}"
                )
            diverged += len(wrong)
            print(
                f"{name}: {trial.undisturbed.calls} calls, {len(kills)} kills, "
                f"{len(losses)} losses of power, {len(wrong)} divergences, "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
            shutil.rmtree(work)
    print(f"{diverged} divergences")
    return 1 if diverged else 0


if __name__ == "__main__":
    sys.exit(main())
