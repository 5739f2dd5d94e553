"""The offline encoders on the bundled catalogue, whose themes recur in every domain."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from isthmus import Space, User

CATALOGUE = Path(__file__).resolve().parents[2] / "examples/catalogue"
DOMAINS = ("films", "books", "products", "music")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("demo") / "s", "local")
    for domain in DOMAINS:
        report = space.upsert(CATALOGUE / f"{domain}.jsonl", text="{title}. {description}")
        assert report.quarantined == 0
    space.publish()
    return space


@pytest.fixture(scope="module")
def themes():
    with (CATALOGUE / "themes.csv").open() as file:
        return {row["item_id"]: row["theme"] for row in csv.DictReader(file)}


def share_of_theme(hits, theme, themes):
    return np.mean([themes[hit.item_id] == theme for hit in hits])


def test_the_catalogue_is_there(demo, themes):
    stats = demo.status()
    assert stats["domains"] == dict.fromkeys(sorted(DOMAINS), 70)
    assert len(themes) == 280
    assert stats["release_recall"] == 1.0


def test_items_like_an_item_are_of_its_theme_in_every_domain(demo, themes):
    shares = [
        share_of_theme(demo.similar(item_id, domain=domain, k=5), theme, themes)
        for item_id, theme in themes.items()
        for domain in DOMAINS
        if not item_id.startswith(domain[:4])
    ]
    assert np.mean(shares) > 0.6  # chance is 1 in 14


def test_a_picture_finds_its_theme(demo, themes):
    shares = []
    for item_id, theme in list(themes.items())[::3]:
        image = demo.get(item_id)["image"]
        if image:
            hits = [h for h in demo.search(image=image, k=6) if h.item_id != item_id][:5]
            shares.append(share_of_theme(hits, theme, themes))
    assert np.mean(shares) > 0.7


def test_a_user_known_in_one_domain_gets_their_themes_in_another(demo, themes):
    shares = []
    for theme in sorted(set(themes.values())):
        history = [i for i, t in themes.items() if t == theme and i.startswith("music")][:3]
        hits = demo.recommend(User(history=history), domain="films", k=5)
        shares.append(share_of_theme(hits, theme, themes))
    assert np.mean(shares) > 0.6


def test_text_finds_pictures_that_have_no_text(demo):
    demo.upsert(
        [{"item_id": "mute", "domain": "films", "image": str(CATALOGUE / "pictures/film-001.png")}]
    )
    found = {hit.item_id for hit in demo.search("cabin in the snow", k=300)}
    assert "mute" in found
    assert len(found) == 281
    demo.delete("mute")
