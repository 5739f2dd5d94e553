"""Make the golden space that has a trained recommender, and the lists that it must answer.

``python -m tests.golden.make_trained tests/golden/trained.space``

It holds a trained recommender, ratings, an alignment and fusion weights of its own. It is made
once for each on-disk format; later code must open it and answer the same lists.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from isthmus import Space, User
from tests.encoders.alignment.test_alignment import some_alignment
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, QUICK, TASTES, board, name
from tests.toy import COLOURS, item, picture, two_encoders

WEIGHTS = {"text": 1.0, "image": 2.0}
USERS = [
    User(),
    User(id="u3"),
    User(history=[name("films", 1, 0), name("books", 2, 1)]),
    User(clicks=[name("films", 5, 2)]),
    User(text="filmsword5"),
]
LISTS = "lists.json"


def lists(space: Space) -> list[dict[str, Any]]:
    """Return what a space recommends to each user in each domain, and predicts for one."""
    found = [
        {"items": [hit.item_id for hit in hits], "scores": [hit.score for hit in hits]}
        for user in USERS
        for domain in ("films", "books")
        for hits in [space.recommend(user, domain=domain, k=8)]
    ]
    pairs = [name("films", taste, 0) for taste in range(TASTES)]
    ratings = space.predict_ratings(User(id="u3"), pairs)
    return [*found, {"items": pairs, "scores": [float(value) for value in ratings]}]


def make(path: Path) -> None:
    """Make the space and write its lists beside it."""
    space = Space.create(path, two_encoders(), alignment=some_alignment(), weights=WEIGHTS)
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
    space.train(settings=QUICK, positive_from=3.0)
    space.publish()
    expected = json.dumps(lists(space), indent=1)
    for rest in (path / "training", path / "media"):
        shutil.rmtree(rest, ignore_errors=True)
    (path.parent / f"{path.stem}_{LISTS}").write_text(expected)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
