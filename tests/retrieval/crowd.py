"""A crowd of random points in three domains: what any list of them should be, found slowly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from isthmus import Space
from tests.toy import COLOURS, PointEncoder, ToyEncoder, item, picture

DIM = 5
SIZES = {"films": 40, "books": 20, "songs": 6}


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def points():
    """Films lie close together round one axis, books wide, songs anywhere."""
    rng = np.random.default_rng(7)
    centre, spread = {"films": 1.5, "books": 0.3, "songs": 0.0}, {"films": 0.4, "books": 1.0}
    out = {}
    for domain, size in SIZES.items():
        for n in range(size):
            point = rng.standard_normal(DIM) * spread.get(domain, 1.0)
            point[0] += centre[domain]
            out[f"{domain[0]}{n:02}"] = unit(np.round(point, 3))
    return out


POINTS = points()
IDS = list(POINTS)
MATRIX = np.stack(list(POINTS.values()))
DOMAIN = {i: next(d for d in SIZES if d[0] == i[0]) for i in IDS}
BRANDS = ("acme", "best", "corp", None)
NUMBER = {name: at for at, name in enumerate(IDS)}


def encoders():
    return {"text": PointEncoder(DIM), "image": ToyEncoder("image", dim=8)}


def make_crowd(folder: Path) -> Space:
    """Two thirds of the items are in a release, the others newer; every second has a picture."""
    colours = list(COLOURS)
    space = Space.create(folder / "s", encoders())
    items = [
        item(
            name,
            " ".join(map(str, POINTS[name].tolist())),
            DOMAIN[name],
            n=NUMBER[name],
            brand=BRANDS[NUMBER[name] % 4],
            image=picture(colours[NUMBER[name] % 6], 8 + NUMBER[name]) if n % 2 else None,
        )
        for n, name in enumerate(IDS)
    ]
    space.upsert(items[::3] + items[1::3])
    space.publish()
    space.upsert(items[2::3])
    return space


def ids(hits):
    return [hit.item_id for hit in hits]


def counts(hits):
    return dict(Counter(hit.domain for hit in hits))
