"""Make the golden space whose fusion weights were changed, in a folder that is not there yet.

``python -m tests.golden.make_reweighed tests/golden/format_4.space``

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
    """Make a space with a release of former weights, one of the present ones, and a delta."""
    space = Space.create(path, two_encoders(), alignment=some_alignment())
    space.upsert(ITEMS)
    space.publish()
    space.set_weights({"image": 3})
    space.upsert([item("new", "desert night", "music", image=picture("green"))])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
