"""Facts of items and features of candidates against plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.features import LONGEST, feature_names, make_features
from isthmus.retrieval.ranker.item_statistics import FACTS, ItemFacts, coarse
from tests.retrieval.candidates.corpora import (
    BOOKS,
    FILMS,
    histories_of,
    make_contents,
    make_corpus,
    quick_sources,
)


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(users=30, items=16)


@pytest.fixture(scope="module")
def facts(corpus):
    return ItemFacts().fit(corpus)


def column(facts, corpus, name, items=None):
    items = np.arange(len(corpus)) if items is None else items
    return facts.of(corpus, items)[:, FACTS.index(name)]


def test_popularity_is_the_logarithm_over_that_of_the_most_popular(corpus, facts):
    logs = np.log1p(corpus.popularity)
    for code in (BOOKS, FILMS):
        own = corpus.in_domain(code)
        expected = logs[own] / logs[own].max()
        np.testing.assert_allclose(column(facts, corpus, "popularity")[own], expected, rtol=1e-6)
        np.testing.assert_allclose(facts.popularity(np.flatnonzero(own)), expected, rtol=1e-6)


def test_places_are_those_by_popularity_in_the_domain(corpus, facts):
    found = column(facts, corpus, "popularity place")
    for code in (BOOKS, FILMS):
        own = np.flatnonzero(corpus.in_domain(code) & (corpus.popularity > 0))
        order = own[np.argsort(-corpus.popularity[own], kind="stable")]
        np.testing.assert_allclose(found[order], 1 / np.log2(np.arange(len(order)) + 2), rtol=1e-6)
    assert not found[corpus.popularity == 0].any()


def test_freshness_falls_with_the_time_of_the_first_use(corpus, facts):
    matrix, found = corpus.interactions, column(facts, corpus, "freshness")
    for item in range(len(corpus)):
        moments = matrix.moments[matrix.columns == item]
        start, end = matrix.moments.min(), matrix.moments.max()
        expected = (moments.min() - start) / (end - start) if len(moments) else 0
        assert found[item] == pytest.approx(expected, rel=1e-5)


def test_uses_are_counted_by_domain(corpus, facts):
    liked = corpus.interactions.columns[corpus.interactions.likes]
    assert facts.uses.tolist() == [np.sum(corpus.domains[liked] == code) for code in range(3)]


@pytest.mark.parametrize("timed", [True, False])
def test_a_newer_item_is_like_an_old_one_that_nobody_used(timed):
    corpus = make_corpus(users=30, items=16, new=2)
    if not timed:
        moments = np.full(len(corpus.interactions), np.nan)
        corpus = replace(corpus, interactions=replace(corpus.interactions, moments=moments))
    vectors = make_contents(len(corpus))
    vectors[33] = vectors[32] = make_contents(40)[36]  # of taste 0, and the same
    domains = corpus.domains.copy()
    domains[32:34] = BOOKS
    whole = replace(
        corpus, features=InMemoryItemFeatures(vectors), domains=domains, _content_graph=[]
    )
    short = replace(
        whole,
        item_ids=whole.item_ids[:33],
        domains=domains[:33],
        features=InMemoryItemFeatures(vectors[:33]),
        interactions=replace(whole.interactions, items=33),
        _content_graph=[],
    )
    facts = ItemFacts().fit(short)
    old, new = facts.of(whole, np.array([32, 33]))
    np.testing.assert_allclose(old[[0, 1, 3, 4]], new[[0, 1, 3, 4]])
    assert old[FACTS.index("unused")] == 1


def test_the_popularity_of_what_is_alike_follows_the_graph(corpus, facts):
    expected = corpus.content_graph @ facts.popularity(np.arange(len(corpus)))
    np.testing.assert_allclose(column(facts, corpus, "popularity of alike"), expected, rtol=1e-6)
    turned = InMemoryItemFeatures(corpus.features.vectors[::-1].copy())
    other = replace(corpus, features=turned, _content_graph=[])
    expected = other.content_graph @ facts.popularity(np.arange(len(corpus)))
    np.testing.assert_allclose(column(facts, other, "popularity of alike"), expected, rtol=1e-6)


def test_facts_are_kept_and_learned_anew(corpus, facts):
    items = np.arange(len(corpus))
    kept = {key: np.array(value) for key, value in facts.state().items()}
    restored = ItemFacts().restore(kept)
    assert restored.of(corpus, items).tolist() == facts.of(corpus, items).tolist()
    assert restored.contents(corpus, items).tolist() == facts.contents(corpus, items).tolist()
    other = corpus.without_entries(corpus.interactions.columns % 3 == 0)
    again, fresh = ItemFacts().fit(corpus), ItemFacts().fit(other)
    again.of(corpus, items)
    assert again.fit(other).of(other, items).tolist() == fresh.of(other, items).tolist()


def features(corpus, facts, histories, target=FILMS, n=6):
    taught = CandidateGenerators(quick_sources()[:4]).fit(corpus)
    scorers = taught.scorers(corpus, histories, target)
    allowed = corpus.in_domain(target)
    pool = candidate_pool(scorers, n, allowed, histories.seen(len(corpus)))
    found = make_features(corpus, histories, pool, facts, target)
    names = feature_names(taught.names)
    return pool, found, {name: found.values[:, at] for at, name in enumerate(names)}


def test_features_of_sources_are_shares_places_and_levels(corpus, facts):
    pool, found, by_name = features(corpus, facts, histories_of([0, 4, 8], [17, 21], []))
    assert found.values.shape == (len(pool.items), len(by_name))
    for at, name in enumerate(pool.sources):
        for user in range(3):
            own = slice(pool.starts[user], pool.starts[user + 1])
            scores, ranks = pool.scores[at, own], pool.ranks[at, own]
            share = scores / max(scores.max(), 1e-12)
            np.testing.assert_allclose(by_name[f"{name}: share"][own], share, rtol=1e-6)
            place = np.where(ranks > 0, 1 / np.log2(1 + np.maximum(ranks, 1)), 0)
            np.testing.assert_allclose(by_name[f"{name}: place"][own], place, rtol=1e-6)
        level = np.log1p(10 * pool.scores[at])
        np.testing.assert_allclose(by_name[f"{name}: level"], level, rtol=1e-5)


def test_features_of_users_and_contents_count_what_was_liked(corpus, facts):
    strengths = [np.array([1, 0, 1, 1], np.float32)]
    mixed = UserHistories.from_lists([np.array([0, 4, 17, 21])], strengths)
    pool, found, by_name = features(corpus, facts, mixed)
    liked = np.array([0, 17, 21])
    assert found.evidence.tolist() == [pytest.approx(np.log1p(3))]
    expected = {
        "items": np.log1p(3),
        "items in domain": np.log1p(2),
        "domains": 2,
        "popularity of items": facts.popularity(liked).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(by_name[f"user: {name}"], value, rtol=1e-6)
    offered, own = facts.contents(corpus, pool.items), facts.contents(corpus, liked)
    for how, cosines in {
        "": offered @ own.T,
        ", coarse": coarse(offered) @ coarse(own).T,
    }.items():
        for where, some in {"": cosines, " in domain": cosines[:, 1:]}.items():
            for name, value in {
                "nearest": some.max(1),
                "mean": some.mean(1),
                "alike": np.log(np.exp(5 * some).mean(1)) / 5,
            }.items():
                column = by_name[f"content: {name}{where}{how}"]
                np.testing.assert_allclose(column, value, rtol=1e-4, atol=1e-6)


def test_histories_outside_the_domain_are_alike_nowhere_in_it(corpus, facts):
    _, _, by_name = features(corpus, facts, UserHistories.from_lists([np.array([0, 1])]))
    for name, values in by_name.items():
        if name.startswith("content:"):
            assert values.any() == ("in domain" not in name), name


def test_coarse_contents_are_the_largest_components_at_unit_length():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 300)).astype(np.float32)
    vectors[3] = 0
    contents = InMemoryItemFeatures(
        vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1)[:, None]
    )
    corpus = replace(make_corpus(users=20, items=300), features=contents, _content_graph=[])
    facts = ItemFacts().fit(corpus)
    found = facts.contents(corpus, np.arange(600))
    assert found.shape == (600, 256)
    kept = found[:, :64]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    expected = np.where(lengths > 0, kept / np.maximum(lengths, 1e-9), 0)
    np.testing.assert_allclose(coarse(found), expected, atol=1e-6)
    assert not coarse(found)[3].any()
    assert facts.width == 64
    assert ItemFacts().restore(facts.state()).width == 64
    assert ItemFacts(dim=8).fit(corpus).width == 8


def test_features_of_users_of_whom_nothing_is_known(corpus, facts):
    disliked = UserHistories.from_lists([np.array([0, 17])], [np.zeros(2, np.float32)])
    for histories in (histories_of([]), disliked):
        _, found, by_name = features(corpus, facts, histories)
        assert found.evidence.tolist() == [0]
        for name, values in by_name.items():
            if name.startswith(("user:", "content:")):
                assert not values.any(), name


def test_contents_are_compared_with_the_strongest_of_a_long_history():
    corpus = make_corpus(users=20, items=LONGEST + 20)
    facts = ItemFacts().fit(corpus)
    long = np.arange(LONGEST + 10)
    strengths = np.where(long < LONGEST, 1, 0.01).astype(np.float32)
    pool, _, by_name = features(corpus, facts, UserHistories.from_lists([long], [strengths]))
    own = facts.contents(corpus, long[:LONGEST])
    nearest = (facts.contents(corpus, pool.items) @ own.T).max(axis=1)
    np.testing.assert_allclose(by_name["content: nearest"], nearest, rtol=1e-4)


def test_an_empty_pool_has_no_features(corpus, facts):
    none = np.zeros(len(corpus), bool)
    histories = histories_of([0], [])
    scorers = CandidateGenerators([Popularity()]).fit(corpus).scorers(corpus, histories, FILMS)
    pool = candidate_pool(scorers, 5, none, histories.seen(len(corpus)))
    found = make_features(corpus, histories, pool, facts, FILMS)
    assert found.values.shape == (0, len(feature_names(pool.sources)))
    assert found.evidence.tolist() == [pytest.approx(np.log(2)), 0]
