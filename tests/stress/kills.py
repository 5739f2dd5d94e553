"""The kill test for as long as you like: ``python -m tests.stress.kills --kills 2000 --seed 1``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.retrieval.crash import survive_kills

ROUND = 100


def main() -> None:
    """Kill writers, a hundred times a space, until there were enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for first in range(0, options.kills, ROUND):
        seed, kills = options.seed + first, min(ROUND, options.kills - first)
        with tempfile.TemporaryDirectory() as folder:
            done = survive_kills(Path(folder) / "s", kills, seed)
        print(f"seed {seed}: {first + kills} kills, {done} operations done, nothing lost")


if __name__ == "__main__":
    main()
