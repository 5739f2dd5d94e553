"""Hubness correction: what is near to everything gives way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput
from isthmus.retrieval.search.hubness import NEIGHBOURS
from tests.toy import PointEncoder, item, text_encoder

ITEMS, DIM = 120, 6


def as_text(point):
    return " ".join(f"{x:.4f}" for x in point)


def corrected(points, query, hubness):
    """The correction by its formula: texts at odd places stand for queries."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    near = unit @ unit[1::2].T
    near[np.arange(1, len(unit), 2), np.arange(near.shape[1])] = -2  # an item itself
    r = np.sort(near, axis=1)[:, ::-1][:, :NEIGHBOURS].mean(axis=1)
    return unit @ (query / np.linalg.norm(query)) - hubness * (r - r.mean()) / 2


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    rng = np.random.default_rng(5)
    points = rng.standard_normal((ITEMS, DIM)) + 0.7
    points = np.array([[float(f"{x:.4f}") for x in point] for point in points])
    space = Space.create(tmp_path_factory.mktemp("cloud") / "s", PointEncoder(DIM))
    space.upsert([item(str(n), as_text(point)) for n, point in enumerate(points)])
    return space, points


def test_a_hub_gives_way(tmp_path):
    axes, hub = np.eye(DIM), np.ones(DIM)
    space = Space.create(tmp_path / "s", PointEncoder(DIM))
    space.upsert([*(item(f"axis {n}", as_text(axis)) for n, axis in enumerate(axes))])
    space.upsert([item("hub", as_text(hub))])
    query_text = as_text(axes[0] + 0.5 * hub)
    assert space.search(query_text, k=1)[0].item_id == "hub"
    assert space.search(query_text, k=1, hubness_correction=1.0)[0].item_id == "axis 0"


@given(
    query=st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=DIM, max_size=DIM),
    hubness=st.floats(0.01, 1),
    k=st.integers(1, 30),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_scores_are_those_of_the_formula(cloud, query, hubness, k):
    space, points = cloud
    if np.linalg.norm(query) < 0.1:
        return
    expected = np.sort(corrected(points, np.array(query), hubness))[::-1][:k]
    found = [hit.score for hit in space.search(as_text(query), k=k, hubness_correction=hubness)]
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


def test_nothing_is_corrected_by_default(cloud):
    space, points = cloud
    query = as_text(points[3])
    assert space.search(query, hubness_correction=0.0) == space.search(query)


def test_range_search_finds_all_that_reach_the_corrected_score(cloud):
    space, points = cloud
    scores = corrected(points, points[3], 1.0)
    found = space.search(as_text(points[3]), k=None, min_score=0.4, hubness_correction=1.0)
    assert {int(hit.item_id) for hit in found} == set(np.flatnonzero(scores >= 0.4).tolist())


def test_a_release_does_not_change_the_correction(tmp_path, cloud):
    _, points = cloud
    space = Space.create(tmp_path / "s", PointEncoder(DIM))
    space.upsert([item(str(n), as_text(point)) for n, point in enumerate(points)])
    before = space.search(as_text(points[3]), hubness_correction=1.0)
    space.publish()
    after = space.search(as_text(points[3]), hubness_correction=1.0)
    assert [h.item_id for h in after] == [h.item_id for h in before]
    space.upsert([item("new", as_text(points[3]))])
    assert space.search(as_text(points[3]), k=200, hubness_correction=1.0)[0].item_id in {
        "new",
        "3",
    }


def test_similar_items_are_corrected_by_items(cloud):
    space, _ = cloud
    plain = [hit.item_id for hit in space.similar("3", k=20)]
    other = [hit.item_id for hit in space.similar("3", k=20, hubness_correction=1.0)]
    assert plain != other
    assert "3" not in other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hubness_correction": 1.5}, "hubness_correction is 1.5; give a number from 0"),
        ({"hubness_correction": -0.1}, "hubness_correction is -0.1; give a number from 0"),
        ({"hubness_correction": 0.5, "normalize_scores": True}, "shift the scores"),
        (
            {"hubness_correction": 0.5, "hybrid": True},
            "goes without .* hubness_correction",
        ),
    ],
)
def test_bad_options_are_refused(cloud, options, message):
    space, points = cloud
    with pytest.raises(InvalidInput, match=message):
        space.search(as_text(points[0]), **options)


def test_pages_join_where_the_correction_makes_scores_equal(tmp_path):
    words = ["sea", "boat", "storm", "car", "red", "blue", "night", "star", "wolf", "tree"]
    rng = np.random.default_rng(0)
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert([item(f"i{n}", " ".join(rng.choice(words, 3))) for n in range(360)])
    for query in ("sea storm", "red wolf"):
        whole = space.search(query, k=360, hubness_correction=0.5)
        assert [h.item_id for h in whole] == [
            hit.item_id for hit in sorted(whole, key=lambda hit: (-hit.score, hit.item_id))
        ]
        joined, cursor = [], None
        while not joined or cursor is not None:
            page = space.search(query, k=9, cursor=cursor, hubness_correction=0.5)
            joined, cursor = joined + page, page.cursor
        assert joined == list(whole)
