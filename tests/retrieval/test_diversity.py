"""Maximal marginal relevance, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space, User
from isthmus.errors import InvalidInput
from tests.retrieval.crowd import IDS, MATRIX, ids, unit
from tests.toy import PointEncoder, ToyEncoder, item, picture

queries = st.sampled_from(range(20)).map(
    lambda seed: unit(np.random.default_rng(seed).standard_normal(MATRIX.shape[1]))
)


def twins(tmp_path):
    """Two items that are nearly the same and near the query, and one farther off, and away."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item("a", "8 6"), item("a again", "79.99 60.01"), item("b", "6 -8")])
    return space


def test_a_duplicate_gives_way_to_another_item(tmp_path):
    space = twins(tmp_path)
    assert ids(space.search("1 0", k=2)) == ["a", "a again"]
    # gains after a: twin (1 - d) 0.8 - d, b (1 - d) 0.6, equal at d = 1 / 6
    assert ids(space.search("1 0", k=2, diversity=0.15)) == ["a", "a again"]
    hits = space.search("1 0", k=2, diversity=0.18)
    assert ids(hits) == ["a", "b"]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6])
    assert [hit.rank for hit in hits] == [1, 2]


def test_only_candidates_are_chosen(tmp_path):
    space = twins(tmp_path)
    assert ids(space.search("1 0", k=2, diversity=0.9, num_candidates=2)) == ["a", "a again"]
    assert ids(space.search("1 0", k=2, diversity=0.9, num_candidates=3)) == ["a", "b"]


def test_similar_items_may_be_diverse_too(tmp_path):
    space = twins(tmp_path)
    space.upsert([item("query", "1 0")])
    assert ids(space.similar("query", k=2, diversity=0.5)) == ["a", "b"]


def test_similarity_is_the_mean_over_common_named_vectors(tmp_path):
    encoders = {"text": PointEncoder(2), "image": ToyEncoder("image", dim=8, salt="image")}
    space = Space.create(tmp_path / "s", encoders)
    space.upsert(
        [
            item("first", "1 0", image=picture("red")),
            item("no picture", "4 1"),
            item("other picture", "4 1", image=picture("blue")),
            item("same picture", "4 1", image=picture("red", 9)),
        ]
    )
    # To the query they are all alike, to the first by 0.97 in text; pictures change the mean.
    hits = space.search("1 0", diversity=0.5)
    assert ids(hits)[:2] == ["first", "other picture"]
    hits = space.search("1 0", diversity=0.5, where="item_id != 'other picture'")
    assert ids(hits) == ["first", "no picture", "same picture"]


@settings(max_examples=60)
@given(
    query=queries,
    k=st.integers(1, 80),
    diversity=st.floats(0, 1),
    extra=st.integers(0, 70),
    min_n=st.integers(0, 60),
)
def test_lists_follow_the_definition_of_mmr(crowd, query, k, diversity, extra, min_n):
    where = f"n >= {min_n}"
    hits = crowd.search(
        vector=query, k=k, diversity=diversity, num_candidates=k + extra, where=where
    )
    plain = crowd.search(vector=query, k=k + extra, where=where)
    assert len(hits) == min(k, len(IDS) - min_n)
    assert len(set(ids(hits))) == len(hits)
    scores = {hit.item_id: hit.score for hit in plain}
    assert all(hit.score == scores[hit.item_id] for hit in hits)
    at = [IDS.index(hit.item_id) for hit in hits]
    similarity = _similarities(crowd)
    pool = [IDS.index(hit.item_id) for hit in plain]
    relevance = np.array([hit.score for hit in plain])
    relevance_of = np.array([scores[IDS[i]] for i in at])
    for place in range(len(at)):  # every choice is a best one, whatever ties there are
        rest = [n for n, i in enumerate(pool) if i not in at[:place]]
        near = [max((similarity[pool[n], j] for j in at[:place]), default=0.0) for n in rest]
        gains = (1 - diversity) * relevance[rest] - diversity * np.array(near)
        max_similarity = max((similarity[at[place], j] for j in at[:place]), default=0.0)
        assert (1 - diversity) * relevance_of[
            place
        ] - diversity * max_similarity >= gains.max() - 1e-5


_KNOWN = {}


def _similarities(space):
    """Return the mean cosine over shared named vectors of all pairs, shape (n, n)."""
    if not _KNOWN:
        view = space.opened.view()
        parts = [view.vectors(b.name, view.find(IDS)) for b in view.named_vectors]
        both = sum(np.outer(p.present, p.present).astype(int) for p in parts)
        _KNOWN["similarity"] = sum(p.vectors @ p.vectors.T for p in parts) / both
    return _KNOWN["similarity"]


@settings(max_examples=30)
@given(query=queries, k=st.integers(1, 80), name=st.sampled_from(IDS))
def test_without_diversity_it_is_the_plain_list(crowd, query, k, name):
    assert crowd.search(vector=query, k=k, diversity=0, num_candidates=k + 5) == crowd.search(
        vector=query, k=k
    )
    assert crowd.similar(name, k=k, diversity=0.0) == crowd.similar(name, k=k)


@settings(max_examples=30)
@given(name=st.sampled_from(IDS), k=st.integers(1, 70), diversity=st.floats(0, 1))
def test_queries_in_several_named_vectors_fill_their_list(crowd, name, k, diversity):
    hits = crowd.similar(name, k=k, diversity=diversity, where="n < 50")
    assert len(hits) == min(k, 50 - (IDS.index(name) < 50))
    assert all(IDS.index(hit.item_id) < 50 for hit in hits)


def test_recommendations_may_be_diverse(crowd):
    user = User(history=IDS[:3])
    plain, diverse = crowd.recommend(user, k=12), crowd.recommend(user, k=12, diversity=0.7)
    assert len(diverse) == 12
    assert not set(IDS[:3]) & set(ids(diverse))
    assert ids(diverse)[0] == ids(plain)[0]
    similarity = _similarities(crowd)

    def closeness(hits):
        at = [IDS.index(hit.item_id) for hit in hits]
        return similarity[np.ix_(at, at)].mean()

    assert closeness(diverse) < closeness(plain)
    table = crowd.recommend_batch([("u", user)], k=12, diversity=0.7)
    assert table["item_id"].to_pylist() == ids(diverse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diversity": 1.5}, "diversity is 1.5; give a number from 0"),
        ({"diversity": -0.1}, "diversity is -0.1"),
        ({"diversity": float("nan")}, "diversity is nan"),
        ({"diversity": 0.5, "num_candidates": 3}, "num_candidates is 3, but k is 10"),
    ],
)
def test_a_bad_option_is_refused(crowd, options, message):
    with pytest.raises(InvalidInput, match=message):
        crowd.similar("f00", **options)


def test_an_empty_space_has_nothing_diverse(space):
    assert space.search("sea", diversity=0.5) == []
    assert space.recommend(User(), diversity=0.5) == []
