"""Facts of items and features of candidates against plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.feature_projection import coarse
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.features import (
    MAX_HISTORY,
    FeatureInputs,
    compute_features,
    feature_columns,
)
from isthmus.retrieval.ranker.item_statistics import STATISTICS, ItemStatistics
from tests.retrieval.candidates.toy_data import (
    BOOKS,
    FILMS,
    histories_of,
    make_training_data,
    make_vectors,
    quick_generators,
)


@pytest.fixture(scope="module")
def training_data():
    return make_training_data(users=30, items=16)


@pytest.fixture(scope="module")
def statistics(training_data):
    return ItemStatistics().fit(training_data)


def column(statistics, training_data, name, items=None):
    items = np.arange(len(training_data)) if items is None else items
    return statistics.of(training_data, items)[:, STATISTICS.index(name)]


def test_popularity_is_the_logarithm_over_that_of_the_most_popular(training_data, statistics):
    logs = np.log1p(training_data.popularity)
    for code in (BOOKS, FILMS):
        in_domain = training_data.in_domain(code)
        expected = logs[in_domain] / logs[in_domain].max()
        np.testing.assert_allclose(
            column(statistics, training_data, "popularity")[in_domain], expected, rtol=1e-6
        )
        np.testing.assert_allclose(
            statistics.popularity(np.flatnonzero(in_domain)), expected, rtol=1e-6
        )


def test_popularity_ranks_are_within_the_domain(training_data, statistics):
    found = column(statistics, training_data, "discounted popularity rank")
    for code in (BOOKS, FILMS):
        in_domain = np.flatnonzero(training_data.in_domain(code) & (training_data.popularity > 0))
        order = in_domain[np.argsort(-training_data.popularity[in_domain], kind="stable")]
        np.testing.assert_allclose(found[order], 1 / np.log2(np.arange(len(order)) + 2), rtol=1e-6)
    assert not found[training_data.popularity == 0].any()


def test_freshness_falls_with_the_time_of_the_first_use(training_data, statistics):
    matrix, found = training_data.interactions, column(statistics, training_data, "freshness")
    for item in range(len(training_data)):
        moments = matrix.moments[matrix.columns == item]
        start, end = matrix.moments.min(), matrix.moments.max()
        expected = (moments.min() - start) / (end - start) if len(moments) else 0
        assert found[item] == pytest.approx(expected, rel=1e-5)


def test_interactions_are_counted_by_domain(training_data, statistics):
    liked = training_data.interactions.columns[training_data.interactions.likes]
    assert statistics.interactions_by_domain.tolist() == [
        np.sum(training_data.domains[liked] == code) for code in range(3)
    ]


@pytest.mark.parametrize("timed", [True, False])
def test_a_new_item_has_the_statistics_of_an_unused_one(timed):
    training_data = make_training_data(users=30, items=16, new=2)
    if not timed:
        moments = np.full(len(training_data.interactions), np.nan)
        training_data = replace(
            training_data, interactions=replace(training_data.interactions, moments=moments)
        )
    vectors = make_vectors(len(training_data))
    vectors[33] = vectors[32] = make_vectors(40)[36]  # of taste 0, and the same
    domains = training_data.domains.copy()
    domains[32:34] = BOOKS
    whole = replace(
        training_data, features=InMemoryItemFeatures(vectors), domains=domains, _content_graph=[]
    )
    short = replace(
        whole,
        item_ids=whole.item_ids[:33],
        domains=domains[:33],
        features=InMemoryItemFeatures(vectors[:33]),
        interactions=replace(whole.interactions, items=33),
        _content_graph=[],
    )
    statistics = ItemStatistics().fit(short)
    old, new = statistics.of(whole, np.array([32, 33]))
    np.testing.assert_allclose(old[[0, 1, 3, 4]], new[[0, 1, 3, 4]])
    assert old[STATISTICS.index("unused")] == 1


def test_the_popularity_of_similar_items_follows_the_content_graph(training_data, statistics):
    expected = training_data.content_graph @ statistics.popularity(np.arange(len(training_data)))
    np.testing.assert_allclose(
        column(statistics, training_data, "popularity of similar items"), expected, rtol=1e-6
    )
    turned = InMemoryItemFeatures(training_data.features.vectors[::-1].copy())
    other = replace(training_data, features=turned, _content_graph=[])
    expected = other.content_graph @ statistics.popularity(np.arange(len(training_data)))
    np.testing.assert_allclose(
        column(statistics, other, "popularity of similar items"), expected, rtol=1e-6
    )


def test_statistics_are_restored_and_fitted_again(training_data, statistics):
    items = np.arange(len(training_data))
    kept = {key: np.array(value) for key, value in statistics.state().items()}
    restored = ItemStatistics().restore(kept)
    assert (
        restored.of(training_data, items).tolist() == statistics.of(training_data, items).tolist()
    )
    assert (
        restored.contents(training_data, items).tolist()
        == statistics.contents(training_data, items).tolist()
    )
    other = training_data.without_entries(training_data.interactions.columns % 3 == 0)
    again, fresh = ItemStatistics().fit(training_data), ItemStatistics().fit(other)
    again.of(training_data, items)
    assert again.fit(other).of(other, items).tolist() == fresh.of(other, items).tolist()


def features(training_data, statistics, histories, target=FILMS, n=6):
    taught = CandidateGenerators(quick_generators()[:4]).fit(training_data)
    scorers = taught.scorers(training_data, histories, target)
    allowed = training_data.in_domain(target)
    pool = candidate_pool(scorers, n, allowed, histories.seen(len(training_data)))
    found = compute_features(
        FeatureInputs(training_data, histories, pool, statistics, target),
        feature_columns(pool.generators),
    )
    names = feature_columns(taught.names)
    return pool, found, {name: found.values[:, at] for at, name in enumerate(names)}


def test_features_of_generators_match_their_definitions(training_data, statistics):
    pool, found, by_name = features(
        training_data, statistics, histories_of([0, 4, 8], [17, 21], [])
    )
    assert found.values.shape == (len(pool.items), len(by_name))
    for at, name in enumerate(pool.generators):
        for user in range(3):
            of_user = slice(pool.starts[user], pool.starts[user + 1])
            scores, ranks = pool.scores[at, of_user], pool.ranks[at, of_user]
            share = scores / max(scores.max(), 1e-12)
            np.testing.assert_allclose(
                by_name[f"{name}: relative score"][of_user], share, rtol=1e-6
            )
            place = np.where(ranks > 0, 1 / np.log2(1 + np.maximum(ranks, 1)), 0)
            np.testing.assert_allclose(
                by_name[f"{name}: discounted rank"][of_user], place, rtol=1e-6
            )
        level = np.log1p(10 * pool.scores[at])
        np.testing.assert_allclose(by_name[f"{name}: log score"], level, rtol=1e-5)


def test_features_of_users_and_contents_use_liked_items_alone(training_data, statistics):
    strengths = [np.array([1, 0, 1, 1], np.float32)]
    mixed = UserHistories.from_lists([np.array([0, 4, 17, 21])], strengths)
    pool, found, by_name = features(training_data, statistics, mixed)
    liked = np.array([0, 17, 21])
    assert found.evidence.tolist() == [pytest.approx(np.log1p(3))]
    expected = {
        "liked items": np.log1p(3),
        "liked items in domain": np.log1p(2),
        "domains": 2,
        "popularity of liked items": statistics.popularity(liked).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(by_name[f"user: {name}"], value, rtol=1e-6)
    offered, known = (
        statistics.contents(training_data, pool.items),
        statistics.contents(training_data, liked),
    )
    for how, cosines in {
        "": offered @ known.T,
        ", coarse": coarse(offered) @ coarse(known).T,
    }.items():
        for where, some in {"": cosines, " in domain": cosines[:, 1:]}.items():
            for name, value in {
                "nearest": some.max(1),
                "mean": some.mean(1),
                "soft maximum": np.log(np.exp(5 * some).mean(1)) / 5,
            }.items():
                column = by_name[f"content: {name}{where}{how}"]
                np.testing.assert_allclose(column, value, rtol=1e-4, atol=1e-6)


def test_histories_outside_the_domain_have_no_similarity_in_it(training_data, statistics):
    _, _, by_name = features(
        training_data, statistics, UserHistories.from_lists([np.array([0, 1])])
    )
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
    training_data = replace(
        make_training_data(users=20, items=300), features=contents, _content_graph=[]
    )
    statistics = ItemStatistics().fit(training_data)
    found = statistics.contents(training_data, np.arange(600))
    assert found.shape == (600, 256)
    kept = found[:, :64]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    expected = np.where(lengths > 0, kept / np.maximum(lengths, 1e-9), 0)
    np.testing.assert_allclose(coarse(found), expected, atol=1e-6)
    assert not coarse(found)[3].any()
    assert coarse(found).shape == (600, 64)


def test_features_of_unknown_users_are_zero(training_data, statistics):
    disliked = UserHistories.from_lists([np.array([0, 17])], [np.zeros(2, np.float32)])
    for histories in (histories_of([]), disliked):
        _, found, by_name = features(training_data, statistics, histories)
        assert found.evidence.tolist() == [0]
        for name, values in by_name.items():
            if name.startswith(("user:", "content:")):
                assert not values.any(), name


def test_contents_are_compared_with_the_strongest_of_a_long_history():
    training_data = make_training_data(users=20, items=MAX_HISTORY + 20)
    statistics = ItemStatistics().fit(training_data)
    long = np.arange(MAX_HISTORY + 10)
    strengths = np.where(long < MAX_HISTORY, 1, 0.01).astype(np.float32)
    pool, _, by_name = features(
        training_data, statistics, UserHistories.from_lists([long], [strengths])
    )
    recent = statistics.contents(training_data, long[:MAX_HISTORY])
    nearest = (statistics.contents(training_data, pool.items) @ recent.T).max(axis=1)
    np.testing.assert_allclose(by_name["content: nearest"], nearest, rtol=1e-4)


def test_an_empty_pool_has_no_features(training_data, statistics):
    none = np.zeros(len(training_data), bool)
    histories = histories_of([0], [])
    scorers = (
        CandidateGenerators([Popularity()])
        .fit(training_data)
        .scorers(training_data, histories, FILMS)
    )
    pool = candidate_pool(scorers, 5, none, histories.seen(len(training_data)))
    found = compute_features(
        FeatureInputs(training_data, histories, pool, statistics, FILMS),
        feature_columns(pool.generators),
    )
    assert found.values.shape == (0, len(feature_columns(pool.generators)))
    assert found.evidence.tolist() == [pytest.approx(np.log(2)), 0]
