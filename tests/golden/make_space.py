"""Make the golden space of the on-disk format, in a folder that does not exist yet.

``python -m tests.golden.make_space tests/golden/format_1.space``

It is made once for each format version and never again: later versions must open it as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isthmus import Space
from tests.toy import item, picture, two_encoders

ITEMS = [
    item("f1", "sea storm ship", year=1990, image=picture("red")),
    item("f2", "jazz club", year=2000),
    item("b1", "sea voyage ship", "books", pages=300, image=picture("blue")),
    item("b2", "mountain snow", "books", pages=120),
    item("b3", "broken picture", "books", pages=1, image=b"nonsense"),
]


def make(path: Path) -> None:
    """Make a space with two releases, a delta, a deleted item and a quarantined picture."""
    space = Space.create(path, two_encoders())
    space.upsert(ITEMS)
    space.publish()
    space.publish()
    space.upsert([item("new", "desert night", "music", minutes=4.5), {**ITEMS[1], "year": 2001}])
    space.delete("b2")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
