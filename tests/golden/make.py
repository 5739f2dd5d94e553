"""Build the golden spaces again: ``python -m tests.golden.make``, or only those that are named.

A change of the on-disk format makes them unreadable; build them again in a commit of its own.
The contents are the same at each run, but not the bytes: Lance names its files at random.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from isthmus import Space, User
from isthmus.index.ann.recipes import recipe_named
from isthmus.schema import EMBEDDING_CACHE_FOLDER, MEDIA_FOLDER, TRAINING_FOLDER
from tests.encoders.alignment.test_alignment import some_alignment
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, QUICK, TASTES, board, name
from tests.toy import (
    COLOURS,
    ToyEncoder,
    item,
    picture,
    sound_encoder,
    text_encoder,
    tone,
    two_encoders,
)

HERE = Path(__file__).parent

ITEMS = [
    item("f1", "sea storm ship", year=1990, image=picture("red")),
    item("f2", "jazz club", year=2000),
    item("b1", "sea voyage ship", "books", pages=300, image=picture("blue")),
    item("b2", "mountain snow", "books", pages=120),
    item("b3", "broken picture", "books", pages=1, image=b"nonsense"),
]

AUDIO_ITEMS = [
    item("s1", "low", "songs", audio=tone("low"), year=1990),
    item("s2", "", "songs", audio=tone("high")),
    item("b1", "sea voyage", "books", image=picture("blue")),
    item("bad", "broken sound", "songs", audio=b"nonsense"),
]

PLANNED_ITEMS = 1_100
RECIPE = "IVF PQ4 fast-scan + SQ8"

SETTINGS = replace(QUICK, training=replace(QUICK.training, epochs=4), tower_epochs=2)
TRAINED_WEIGHTS = {"text": 1.0, "image": 2.0}
USERS = [
    User(),
    User(id="u3"),
    User(history=[name("films", 1, 0), name("books", 2, 1)]),
    User(clicks=[name("films", 5, 2)]),
    User(text="filmsword5"),
]
LISTS = "trained_lists.json"


def make_plain(path: Path) -> None:
    """Make a space with two releases, a delta, a deleted item and a quarantined image."""
    space = Space.create(path, two_encoders())
    space.upsert(ITEMS)
    space.publish()
    space.publish()
    space.upsert([item("new", "desert night", "music", minutes=4.5), {**ITEMS[1], "year": 2001}])
    space.delete("b2")


def make_aligned(path: Path) -> None:
    """Make a space with an alignment, a release before and one after a change of the weights."""
    space = Space.create(path, two_encoders(), alignment=some_alignment())
    space.upsert(ITEMS)
    space.publish()
    space.set_weights({"image": 3})
    space.upsert([{"item_id": "seen", "domain": "pictures", "image": picture("green")}])
    space.upsert([item("new", "desert night", "music", minutes=4.5, image=picture("green"))])


def make_audio(path: Path) -> None:
    """Make a space with audio: a release, a delta and quarantined audio."""
    sounds = sound_encoder()
    colours = ToyEncoder("image", dim=8, salt="image")
    space = Space.create(path, {"text": sounds, "image": colours, "audio": sounds})
    space.upsert(AUDIO_ITEMS)
    space.publish()
    space.upsert([item("new", "", "songs", audio=tone("middle"))])


def make_planned(path: Path) -> None:
    """Make a space whose release has a planned index; with a delta and a deletion."""
    space = Space.create(path, {"text": text_encoder(dim=16)})
    space.upsert([item(f"i{n}", planned_text(n), "ab"[n % 2], n=n) for n in range(PLANNED_ITEMS)])
    recipes = "isthmus.index.releases.build.suitable"
    with patch(recipes, lambda dim, on_gpu: iter([recipe_named(RECIPE)])):
        space.publish(latency_ms=1_000)
    space.upsert([item("new", "quite new", "a", n=-1)])
    space.delete("i7")
    for folder in (MEDIA_FOLDER, EMBEDDING_CACHE_FOLDER):
        shutil.rmtree(path / folder, ignore_errors=True)


def planned_text(number: int) -> str:
    """Return the text of an item of the planned space; neighbours share a word."""
    return f"a{number // 30} b{number % 37} c{number % 5}"


def make_trained(path: Path) -> None:
    """Make a space with a recommender, ratings, an alignment and weights; write its lists."""
    space = Space.create(path, two_encoders(), alignment=some_alignment(), weights=TRAINED_WEIGHTS)
    colours = list(COLOURS)
    space.upsert(
        [
            item(
                name(domain, taste, n),
                f"{domain}word{taste} {domain}{taste}x{n}",
                domain,
                image=picture(colours[taste % len(colours)]),
                year=1990 + taste,
            )
            for domain in ("films", "books")
            for taste in range(TASTES)
            for n in range(ITEMS_A_TASTE)
        ]
    )
    rows = [
        {**row, "value": float(3 + (index * 7) % 3), "kind": "rating"}
        for index, row in enumerate(board(80))
    ]
    space.add_interactions(rows, value="value", event_column="kind")
    space.train(settings=SETTINGS, positive_from=3.0)
    space.publish()
    (path.parent / LISTS).write_text(json.dumps(trained_lists(space), indent=1) + "\n")
    for folder in (TRAINING_FOLDER, MEDIA_FOLDER):
        shutil.rmtree(path / folder, ignore_errors=True)


def trained_lists(space: Space) -> list[dict[str, Any]]:
    """Return what a space recommends to each user in each domain, and predicts for one."""
    lists = [
        {"items": [hit.item_id for hit in hits], "scores": [hit.score for hit in hits]}
        for user in USERS
        for domain in ("films", "books")
        for hits in [space.recommend(user, domain=domain, k=8)]
    ]
    pairs = [name("films", taste, 0) for taste in range(TASTES)]
    ratings = space.predict_ratings(User(id="u3"), pairs)
    return [*lists, {"items": pairs, "scores": [float(value) for value in ratings]}]


MAKERS: dict[str, Callable[[Path], None]] = {
    "plain": make_plain,
    "aligned": make_aligned,
    "audio": make_audio,
    "planned": make_planned,
    "trained": make_trained,
}


def main(names: list[str]) -> None:
    """Build golden spaces in place of those that are there."""
    for name_ in names or MAKERS:
        path = HERE / f"{name_}.space"
        shutil.rmtree(path, ignore_errors=True)
        MAKERS[name_](path)
        for leftover in (*path.glob(".*.lock"), *path.glob(".*.writer")):
            leftover.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
