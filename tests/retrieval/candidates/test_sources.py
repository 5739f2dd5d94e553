"""What every source of candidates must do, one and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.generators import CandidateGenerators, without
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.corpora import (
    BOOKS,
    FILMS,
    SONGS,
    histories_of,
    make_contents,
    make_corpus,
    quick_sources,
)

NAMES = [source.name for source in quick_sources()]
ITEMS, NEW = 24, 6
LEARNED = 2 * ITEMS
USERS = histories_of([0, 4, 8], [25, 29, 33, 37], [], [3, 27, 40, 41], [7], [48, 50], [0, 25, 52])


@pytest.fixture(scope="module")
def learned():
    corpus = make_corpus(items=ITEMS)
    return corpus, {source.name: source.fit(corpus) for source in quick_sources()}


@pytest.fixture(scope="module")
def grown():
    """The same corpus with six items more, which no source learned of."""
    return make_corpus(items=ITEMS, new=NEW)


@pytest.fixture(params=NAMES)
def source(request, learned):
    return learned[1][request.param]


def best(source, corpus, histories, target, n=1000, allowed=None):
    """Give each user's list, of items and of scores."""
    inside = corpus.in_domain(target)
    allowed = inside if allowed is None else inside & allowed
    found = source.scorer(corpus, histories, target).top_k(n, allowed, histories.seen(len(corpus)))
    ends = found.starts[1:-1]
    return list(zip(np.split(found.items, ends), np.split(found.scores, ends), strict=True))


def pairs(source, corpus, histories, target):
    """Give the scores of all users and items, shape (n_users, n_items)."""
    users, items = np.divmod(np.arange(len(histories) * len(corpus)), len(corpus))
    scores = source.scorer(corpus, histories, target).score_pairs(users, items)
    return scores.reshape(len(histories), len(corpus))


def same(one, other):
    """Tell whether lists are alike, but for what rounding does to scores."""
    for (items, scores), (others, those) in zip(one, other, strict=True):
        assert sorted(items.tolist()) == sorted(others.tolist())
        np.testing.assert_allclose(scores, those, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [BOOKS, FILMS])
def test_scores_of_pairs_are_those_of_the_lists(source, grown, target):
    table = pairs(source, grown, USERS, target)
    for user, (items, scores) in enumerate(best(source, grown, USERS, target)):
        np.testing.assert_allclose(table[user, items], scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 5, 1000])
@pytest.mark.parametrize("target", [BOOKS, FILMS])
def test_lists_are_sorted_short_and_of_what_may_be_proposed(source, grown, target, n):
    allowed = np.arange(len(grown)) % 3 != 0
    lists = best(source, grown, USERS, target, n, allowed)
    assert len(lists) == len(USERS)
    for user, (items, scores) in enumerate(lists):
        own = USERS.columns[USERS.starts[user] : USERS.starts[user + 1]]
        assert len(items) <= n
        assert len(set(items.tolist())) == len(items)
        assert allowed[items].all()
        assert (grown.domains[items] == target).all()
        assert not np.isin(items, own).any()
        assert (np.diff(scores) <= 0).all()
        assert np.isfinite(scores).all()


def test_short_lists_begin_long_ones(source, grown):
    for short, long in zip(
        best(source, grown, USERS, FILMS, 4), best(source, grown, USERS, FILMS), strict=True
    ):
        np.testing.assert_allclose(short[1], long[1][:4], rtol=1e-4, atol=1e-5)
        assert len(short[0]) == min(4, len(long[0]))


def test_the_best_of_a_list_is_the_best_of_all_pairs(source, grown):
    table = pairs(source, grown, USERS, FILMS)
    for user, (items, scores) in enumerate(best(source, grown, USERS, FILMS, 3)):
        if not len(items):
            continue
        table[user, USERS.columns[USERS.starts[user] : USERS.starts[user + 1]]] = -np.inf
        left = np.sort(table[user][grown.in_domain(FILMS)])[::-1][: len(items)]
        np.testing.assert_allclose(scores, left, rtol=1e-4, atol=1e-5)


def test_an_empty_domain_has_nothing(source, grown):
    assert [len(items) for items, _ in best(source, grown, USERS, SONGS)] == [0] * len(USERS)


def test_nobody_is_answered_by_nothing(source, grown):
    found = source.scorer(grown, histories_of(), BOOKS).top_k(
        3, grown.in_domain(BOOKS), histories_of().seen(len(grown))
    )
    assert [len(part) for part in found] == [1, 0, 0]


def test_a_user_without_a_history_is_scored_alike_wherever_he_stands(source, grown):
    many = histories_of([], [0, 4], [], [25])
    table = pairs(source, grown, many, FILMS)
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table[0], table[2], atol=1e-6)


def test_what_is_newer_than_the_source_in_a_history_does_no_harm(source, grown):
    table = pairs(source, grown, histories_of([48, 50], [0, 48], [0]), FILMS)
    assert np.isfinite(table).all()
    if source.name in ("item-KNN (cosine)", "user-KNN", "ALS"):
        np.testing.assert_allclose(table[1], table[2], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "content-smoothed item-KNN"])
def test_new_items_change_nothing_for_old_ones(name, learned, grown):
    source = learned[1][name]  # in a corpus of one piece, old items may be like new ones
    known = histories_of([0, 4, 8], [25, 29], [])
    old, both = pairs(source, learned[0], known, FILMS), pairs(source, grown, known, FILMS)
    np.testing.assert_allclose(both[:, :LEARNED], old, rtol=1e-4, atol=1e-5)


def test_other_new_items_have_other_answers(source, grown):
    """As many items, but the new ones are others, and those of the two domains change places."""
    vectors = grown.features.vectors.copy()
    vectors[LEARNED:] = make_contents(200)[200 - NEW :]
    domains = grown.domains.copy()
    domains[LEARNED:] = 1 - domains[LEARNED:]
    other = replace(
        grown, domains=domains, features=InMemoryItemFeatures(vectors), _content_graph=[]
    )
    (fresh,) = (own for own in quick_sources() if own.name == source.name)
    fresh.restore(source.state())
    for target in (BOOKS, FILMS):
        pairs(source, grown, USERS, target), best(source, grown, USERS, target)
        assert (
            pairs(source, other, USERS, target).tolist()
            == pairs(fresh, other, USERS, target).tolist()
        )
        for (items, _), (others, _) in zip(
            best(source, other, USERS, target), best(fresh, other, USERS, target), strict=True
        ):
            assert items.tolist() == others.tolist()


def test_the_order_of_a_history_does_not_matter(source, grown):
    one = UserHistories.from_lists([np.array([3, 27, 40])], [np.array([1.0, 0.5, 0.2], np.float32)])
    other = UserHistories.from_lists(
        [np.array([40, 3, 27])], [np.array([0.2, 1.0, 0.5], np.float32)]
    )
    for target in (BOOKS, FILMS):
        first, second = (pairs(source, grown, own, target) for own in (one, other))
        assert first.tolist() == second.tolist()


def test_what_was_seen_and_not_liked_only_stays_out_of_the_list(source, grown):
    strengths = np.array([1.0, 0.0, 1.0, 0.0], np.float32)
    seen = UserHistories.from_lists([np.array([0, 4, 29, 33])], [strengths])
    liked = histories_of([0, 29])
    for target in (BOOKS, FILMS):
        np.testing.assert_allclose(
            pairs(source, grown, seen, target), pairs(source, grown, liked, target), atol=1e-6
        )
        assert not np.isin(best(source, grown, seen, target)[0][0], [4, 33]).any()


def test_whoever_liked_nothing_is_like_one_without_a_history(source, grown):
    disliking = UserHistories.from_lists([np.array([0, 29])], [np.zeros(2, np.float32)])
    np.testing.assert_allclose(
        pairs(source, grown, disliking, FILMS), pairs(source, grown, histories_of([]), FILMS),
        atol=1e-6,
    )  # fmt: skip


def test_a_batch_answers_as_its_users_one_by_one(source, grown):
    for target in (BOOKS, FILMS):
        together = best(source, grown, USERS, target)
        alone = [
            best(source, grown, USERS.take_users(np.array([user])), target)[0]
            for user in range(len(USERS))
        ]
        same(together, alone)


def test_equal_seeds_learn_the_same(source, learned):
    (again,) = (own for own in quick_sources() if own.name == source.name)
    state, other = source.state(), again.fit(learned[0]).state()
    assert state.keys() == other.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_what_was_kept_answers_alike(source, grown):
    (fresh,) = (own for own in quick_sources() if own.name == source.name)
    state = {key: np.array(value) for key, value in source.state().items()}
    restored = fresh.restore(state)
    assert restored.settings() == source.settings()
    for target in (BOOKS, FILMS, SONGS):
        for (items, scores), (others, those) in zip(
            best(source, grown, USERS, target), best(restored, grown, USERS, target), strict=True
        ):
            assert items.tolist() == others.tolist()
            assert scores.tolist() == those.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_from_a_corpus_that_nobody_used(name):
    (fresh,) = (own for own in quick_sources() if own.name == name)
    corpus = make_corpus(users=0, items=8)
    lists = best(fresh.fit(corpus), corpus, histories_of([1], []), BOOKS)
    assert 1 not in lists[0][0].tolist()
    assert all(np.isfinite(scores).all() for _, scores in lists)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_without_times_and_without_contents(name):
    (fresh,) = (own for own in quick_sources() if own.name == name)
    corpus = make_corpus(items=12)
    matrix = replace(corpus.interactions, moments=np.full(len(corpus.interactions), np.nan))
    bare = replace(
        corpus,
        interactions=matrix,
        features=InMemoryItemFeatures(np.zeros_like(corpus.features.vectors)),
        _content_graph=[],
    )
    fresh.fit(bare)
    for items, scores in best(fresh, bare, histories_of([0, 4], []), FILMS):
        assert np.isfinite(scores).all()
        assert len(items) == len(scores)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(st.integers(0, LEARNED + NEW - 1), unique=True, max_size=8), max_size=4),
       st.integers(1, 60))  # fmt: skip
def test_any_histories_are_answered_within_the_rules(learned, grown, lists, n):
    histories = histories_of(*lists)
    allowed = grown.in_domain(BOOKS)
    for source in learned[1].values():
        scorer = source.scorer(grown, histories, BOOKS)
        found = scorer.top_k(n, allowed, histories.seen(len(grown)))
        assert len(found.starts) == len(lists) + 1
        assert np.diff(found.starts).max(initial=0) <= n
        owners = np.repeat(np.arange(len(lists)), np.diff(found.starts))
        np.testing.assert_allclose(
            scorer.score_pairs(owners, found.items), found.scores, rtol=1e-4, atol=1e-5
        )
        for user, own in enumerate(lists):
            part = found.items[found.starts[user] : found.starts[user + 1]].tolist()
            assert len(set(part)) == len(part)
            assert not set(part) & set(own)
            assert allowed[part].all()


def test_sources_are_kept_and_restored_together(learned, grown):
    corpus, _ = learned
    taught = CandidateGenerators(quick_sources()[:6]).fit(corpus)
    restored = CandidateGenerators(quick_sources()[:6]).restore(taught.state())
    assert restored.names == taught.names
    for name in taught.names:
        one = best(taught[name], grown, USERS, FILMS)
        other = best(restored[name], grown, USERS, FILMS)
        assert [i.tolist() for i, _ in one] == [i.tolist() for i, _ in other]


def test_names_must_be_names_of_one_source_each():
    for wrong in ([], [Popularity(), Popularity()]):
        with pytest.raises(InvalidInput, match="one generator or more, each with a name of its"):
            CandidateGenerators(wrong)


def test_sources_can_be_left_out():
    left = without(quick_sources(), "ALS", "trend")
    assert [source.name for source in left] == [n for n in NAMES if n not in ("ALS", "trend")]


def test_popularity_counts_users_who_liked(learned):
    corpus: TrainingData = learned[0]
    matrix = corpus.interactions
    counts = np.bincount(matrix.columns[matrix.likes], minlength=len(corpus))
    table = pairs(learned[1]["popularity"], corpus, histories_of([]), BOOKS)
    assert table[0].tolist() == counts.tolist()


def test_trend_forgets_the_old_and_says_nothing_without_times(learned):
    corpus: TrainingData = learned[0]
    matrix = corpus.interactions
    last = matrix.columns[matrix.likes][np.argmax(matrix.moments[matrix.likes])]
    trend, popularity = (learned[1][name] for name in ("trend", "popularity"))
    shares = [
        pairs(own, corpus, histories_of([]), BOOKS)[0, last]
        / pairs(own, corpus, histories_of([]), BOOKS)[0].sum()
        for own in (trend, popularity)
    ]
    assert shares[0] > shares[1]
    timeless = replace(
        corpus,
        interactions=replace(matrix, moments=np.full(len(matrix), np.nan)),
        _content_graph=[],
    )
    silent = type(trend)().fit(timeless)
    assert not pairs(silent, timeless, histories_of([0]), BOOKS).any()


def test_content_looks_at_the_strongest_of_a_long_history():
    vectors = np.zeros((250, 2), np.float32)
    vectors[:240, 1], vectors[0], vectors[240:] = 1, [1, 0], [1, 0]
    corpus = make_corpus(users=0, items=125)
    corpus = replace(
        corpus, features=InMemoryItemFeatures(vectors), domains=np.zeros(250, np.int64)
    )
    strengths = np.full(240, 1e-4, np.float32)
    strengths[0] = 1
    long = UserHistories.from_lists([np.arange(240)], [strengths])
    ((items, _),) = best(Content().fit(corpus), corpus, long, BOOKS)
    assert sorted(items.tolist()) == list(range(240, 250))
