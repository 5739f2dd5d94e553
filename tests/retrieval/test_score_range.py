"""Range search, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput
from isthmus.retrieval.search import query
from tests.retrieval.crowd import DOMAIN, IDS, MATRIX, ids, unit
from tests.toy import PointEncoder, item

seeds = st.integers(0, 50)


@pytest.fixture
def compass(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item("a", "1 0"), item("b", "8 6"), item("c", "6 8"), item("d", "-1 0")])
    return space


def test_only_items_with_the_minimum_score_are_returned(compass):
    assert ids(compass.search("1 0", k=None, min_score=0.7)) == ["a", "b"]
    assert ids(compass.search("1 0", k=None, min_score=-2)) == ["a", "b", "c", "d"]
    assert ids(compass.search("1 0", k=1, min_score=0.7)) == ["a"]
    assert ids(compass.search("1 0", min_score=0.7)) == ["a", "b"]
    assert compass.search("1 0", k=None, min_score=1.5) == []
    assert ids(compass.similar("a", k=None, min_score=0.5)) == ["b", "c"]


def test_a_score_that_was_shown_is_reached(compass):
    for hit in compass.search("1 0"):
        assert hit.item_id in ids(compass.search("1 0", k=None, min_score=hit.score))


@pytest.fixture(scope="module", autouse=True)
def _narrow():
    """Widen in small steps, so that the crowd is seen in many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isthmus.retrieval.search.query.RANGE_DEPTH", 2)
        patch.setattr("isthmus.retrieval.search.query.WIDENING", 2)
        yield


@settings(max_examples=60)
@given(seed=seeds, threshold=st.floats(-1.1, 1.1), start=st.integers(0, 70), books=st.booleans())
def test_range_search_equals_brute_force(crowd, seed, threshold, start, books):
    query = unit(np.random.default_rng(seed).standard_normal(MATRIX.shape[1]))
    hits = crowd.search(
        vector=query,
        k=None,
        min_score=threshold,
        where=f"n >= {start}",
        domain="books" if books else None,
    )
    scores = dict(zip(IDS, (MATRIX @ query).tolist(), strict=True))
    allowed = {i for i in IDS[start:] if not books or DOMAIN[i] == "books"}
    sure = {i for i in allowed if scores[i] >= threshold + 1e-5}
    maybe = {i for i in allowed if scores[i] >= threshold - 1e-5}
    assert sure <= set(ids(hits)) <= maybe
    assert all(hit.score >= threshold for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@settings(max_examples=60)
@given(name=st.sampled_from(IDS), threshold=st.floats(-1, 1), calibrate=st.booleans())
def test_over_several_named_vectors_nothing_is_missed(crowd, name, threshold, calibrate):
    everything = crowd.similar(name, k=1_000, normalize_scores=calibrate)
    hits = crowd.similar(name, k=None, min_score=threshold, normalize_scores=calibrate)
    sure = {hit.item_id for hit in everything if hit.score >= threshold + 1e-5}
    maybe = {hit.item_id for hit in everything if hit.score >= threshold - 1e-5}
    assert sure <= set(ids(hits)) <= maybe
    scores = {hit.item_id: hit.score for hit in everything}
    assert [h.score for h in hits] == pytest.approx([scores[i] for i in ids(hits)], abs=1e-5)
    few = crowd.similar(name, k=3, min_score=threshold, normalize_scores=calibrate)
    assert len(few) == min(3, len(hits))


def test_the_search_is_not_widened_further_than_necessary(crowd, monkeypatch):
    depths = []
    ranked = crowd.search(vector=MATRIX[0], k=5)
    plain = query.search_vectors

    def spy(view, queries, depth, allowed):
        depths.append(depth)
        return plain(view, queries, depth, allowed)

    monkeypatch.setattr(query, "search_vectors", spy)
    crowd.search(vector=MATRIX[0], k=None, min_score=ranked[4].score)
    assert depths == [2, 4, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": None}, "k is None; give a k, or a min_score"),
        ({"k": None, "min_score": 0.5, "diversity": 0.5}, "ways to fill k places; give a k"),
        ({"k": None, "min_score": 0.5, "quotas": {"books": 1}}, "ways to fill k places"),
        ({"min_score": float("nan")}, "min_score is nan; give a finite number"),
    ],
)
def test_a_bad_option_is_refused(crowd, options, message):
    with pytest.raises(InvalidInput, match=message):
        crowd.similar("f00", **options)


def test_an_empty_space_has_no_range(space):
    assert space.search("sea", k=None, min_score=0.0) == []
    assert space.search("sea", k=None, min_score=0.0, normalize_scores=True) == []
