"""A writer to be killed: works through a fixed list of operations, saying what is done.

``python -m tests.retrieval.crash_writer SPACE FIRST``
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from typing import Any

import isthmus.index.catalog.ingest
from isthmus import Space
from isthmus.encoders.decoding import decode
from isthmus.errors import ReleaseNotFound
from tests.toy import COLOURS, item, picture, two_encoders

OPERATIONS = 4_000
KINDS = ["upsert", "upsert", "upsert", "delete", "publish", "publish", "rollback", "compact"]
ROWS = 24


def operation(number: int) -> tuple[str, Any]:
    """Return the operation of a number: the same in every process."""
    chance = random.Random(number)
    kind = chance.choice(KINDS)
    if kind in ("publish", "rollback", "compact"):
        return kind, None
    names = [f"i{n}" for n in chance.sample(range(120), ROWS)]
    if kind == "delete":
        return kind, names[:6]
    return kind, {name: (f"word{number} {name}", chance.choice([*COLOURS, None])) for name in names}


def main() -> None:
    path, first = sys.argv[1], int(sys.argv[2])
    isthmus.index.catalog.ingest.COMMIT_ROWS = 12  # two commits an operation
    space = Space.open(path, encoder=two_encoders())
    decode("image", picture("red"))  # starts the process that decodes
    say("ready")
    for number in range(first, first + OPERATIONS):
        kind, given = operation(number)
        if kind == "publish":
            space.publish()
        elif kind == "rollback":
            with suppress(ReleaseNotFound):  # there may be none to go back to
                space.rollback()
        elif kind == "compact":
            space.compact(keep_days=0)
        elif kind == "delete":
            space.delete(given)
        else:
            space.upsert([item(n, t, image=c and picture(c)) for n, (t, c) in given.items()])
        say(str(number))


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
