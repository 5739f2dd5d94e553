"""Make the golden space of on-disk format 3, which has audio, as `make_space` does.

``python -m tests.golden.make_audio tests/golden/format_3.space``
"""

from __future__ import annotations

import sys
from pathlib import Path

from isthmus import Space
from tests.toy import ToyEncoder, item, picture, sound_encoder, tone

ITEMS = [
    item("s1", "low", "songs", audio=tone("low"), year=1990),
    item("s2", "", "songs", audio=tone("high")),
    item("b1", "sea voyage", "books", image=picture("blue")),
    item("bad", "broken sound", "songs", audio=b"nonsense"),
]


def make(path: Path) -> None:
    """Make a space with a release, a delta and quarantined audio."""
    sounds = sound_encoder()
    colours = ToyEncoder("image", dim=8, salt="image")
    space = Space.create(path, {"text": sounds, "image": colours, "audio": sounds})
    space.upsert(ITEMS)
    space.publish()
    space.upsert([item("new", "", "songs", audio=tone("middle"))])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
