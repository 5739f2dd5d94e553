"""A writer of interactions, to be killed or to compete: ``python -m … SPACE FIRST ROWS``.

It says ``ready`` when it is open, and ``done`` when everything is stored.
"""

from __future__ import annotations

import sys

import pyarrow as pa

import isthmus.data.interactions.ingest
from isthmus import Space
from tests.toy import two_encoders

COMMIT_ROWS = 20


def rows(first: int, count: int) -> pa.Table:
    """Return the rows of an input, the same in every process."""
    numbers = range(first, first + count)
    users = [f"u{n % 37}" for n in numbers]
    return pa.table(
        {
            "user_id": users,
            "item_id": [f"i{n}" for n in numbers],
            "value": [float(n % 5) for n in numbers],
            "time": [1_000_000_000 + n for n in numbers],
        }
    )


def main() -> None:
    path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    isthmus.data.interactions.ingest.COMMIT_ROWS = COMMIT_ROWS
    space = Space.open(path, encoder=two_encoders())
    say("ready")
    space.add_interactions(rows(first, count))
    say("done")


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
