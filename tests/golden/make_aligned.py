"""Make the golden space that has an alignment, in a folder that does not exist yet.

``python -m tests.golden.make_aligned tests/golden/format_2.space``

It is made once for each format version and never again: later versions must open it as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isthmus import Space
from tests.encoders.alignment.test_alignment import some_alignment
from tests.golden.make_space import ITEMS
from tests.toy import item, picture, two_encoders


def make(path: Path) -> None:
    """Make a space with an alignment, a release and a delta, one of its items a picture alone."""
    space = Space.create(path, two_encoders(), alignment=some_alignment())
    space.upsert(ITEMS)
    space.publish()
    space.upsert([{"item_id": "seen", "domain": "pictures", "image": picture("green")}])
    space.upsert([item("new", "desert night", "music", minutes=4.5)])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
