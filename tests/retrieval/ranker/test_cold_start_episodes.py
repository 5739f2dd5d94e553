"""What cold-start episodes hide does not leak into anything that the ranker reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.ranker.cold_start_episodes import (
    Fold,
    make_episodes,
    make_folds,
)
from isthmus.retrieval.ranker.examples import join_examples, make_examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings
from isthmus.retrieval.ranker.situations import SITUATIONS
from tests.retrieval.candidates.toy_data import BOOKS, DOMAINS, FILMS, make_training_data

USERS = 60


@pytest.fixture(scope="module")
def corpus():
    return make_training_data(users=USERS, items=24)


@pytest.fixture(scope="module", params=[1, 3])
def folds(request, corpus):
    return list(make_folds(corpus, BOOKS, request.param, seed=5))


def pairs(owners, columns):
    return set(zip(owners.tolist(), columns.tolist(), strict=True))


def entries(corpus, *, domain=None, liked=False):
    """Return the pairs of user and item of a corpus."""
    matrix = corpus.interactions
    kept = np.ones(len(matrix), bool)
    if domain is not None:
        kept &= corpus.domains[matrix.columns] == domain
    if liked:
        kept &= matrix.likes
    return pairs(matrix.owners[kept], matrix.columns[kept])


def test_generators_do_not_see_the_hidden_interactions_of_a_fold(corpus, folds):
    for fold in folds:
        seen = entries(corpus.without_entries(fold.hidden))
        books = corpus.in_domain(BOOKS)
        assert seen == {
            (user, item)
            for user, item in entries(corpus)
            if not fold.new_items[item] and not (user in fold.users and books[item])
        }
        assert fold.new_items.sum() == 2
        assert books[fold.new_items].all()


def test_folds_partition_the_users_of_the_domain(corpus):
    folds = list(make_folds(corpus, BOOKS, 3, seed=5))
    met = np.concatenate([fold.users for fold in folds])
    liked = entries(corpus, domain=BOOKS, liked=True)
    assert sorted(met.tolist()) == sorted({user for user, _ in liked})
    (few,) = make_folds(corpus, BOOKS, 1, seed=5)
    assert len(few.users) == len(met) // 5


def test_relevant_items_are_liked_and_hidden_and_never_shown(corpus, folds):
    liked = entries(corpus, domain=BOOKS, liked=True)
    for fold in folds:
        seen = entries(corpus.without_entries(fold.hidden))
        for case in make_episodes(corpus, fold, BOOKS, seed=7):
            labels = pairs(case.users[case.owners], case.relevant)
            shown = pairs(case.users[case.histories.owners], case.histories.columns)
            assert labels
            assert labels <= liked
            assert not labels & shown
            assert not labels & seen
            assert shown <= entries(corpus, liked=True)
            assert case.allowed[case.relevant].all()
            assert not (case.allowed & ~corpus.in_domain(BOOKS)).any()
            assert len(case.histories) == len(case.users)
            assert set(case.owners.tolist()) == set(range(len(case.users)))


def test_each_situation_shows_what_is_known_in_it(corpus, folds):
    liked = entries(corpus, domain=BOOKS, liked=True)
    books = corpus.in_domain(BOOKS)
    for fold in folds:
        cases = {case.situation: case for case in make_episodes(corpus, fold, BOOKS, seed=7)}
        assert {"unknown", "elsewhere", "few", "new items"} <= set(cases) <= set(SITUATIONS)
        counts = {
            user: sum(u == user and not fold.new_items[item] for u, item in liked)
            for user in fold.users.tolist()
        }
        somebody = {user for user, n in counts.items() if n}
        assert set(cases["unknown"].users.tolist()) == somebody
        assert not len(cases["unknown"].histories.columns)
        elsewhere = cases["elsewhere"]
        assert set(elsewhere.users.tolist()) <= somebody
        assert (elsewhere.histories.counts(books) == 0).all()
        assert (elsewhere.histories.counts() > 0).all()
        few = cases["few"]
        shown = few.histories.counts(books)
        assert ((shown >= 1) & (shown <= 5)).all()
        for name in ("unknown", "elsewhere", "few"):
            case = cases[name]
            assert not fold.new_items[case.histories.columns].any()
            assert not case.allowed[fold.new_items].any()
            shown = case.histories.counts(books).tolist()
            left = np.bincount(case.owners).tolist()
            assert [a + b for a, b in zip(shown, left, strict=True)] == [
                counts[user] for user in case.users.tolist()
            ]
        new = cases["new items"]
        assert new.allowed.tolist() == fold.new_items.tolist()
        assert not fold.new_items[new.histories.columns].any()


def test_users_of_a_situation_are_limited_and_unknown_ones_come_first(corpus):
    matrix = corpus.interactions
    lonely = matrix.owners % 3 == 0  # a third of the users did nothing outside of the books
    hidden = lonely & ~corpus.in_domain(BOOKS)[matrix.columns]
    some = corpus.without_entries(hidden)
    (fold,) = make_folds(some, BOOKS, 1, seed=5)
    cases = {
        case.situation: case.users.tolist()
        for case in make_episodes(some, fold, BOOKS, seed=7, max_users=3)
    }
    assert {len(users) for users in cases.values()} == {3}
    assert all(user % 3 == 0 for user in cases["unknown"])
    assert not any(user % 3 == 0 for user in cases["elsewhere"])


def changed(corpus, which, seed=1):
    """Change values and times of some entries, but not what is liked."""
    rng, matrix = np.random.default_rng(seed), corpus.interactions
    n = len(matrix)
    return replace(
        corpus,
        interactions=replace(
            matrix,
            strengths=np.where(which, rng.uniform(1, 90, n), matrix.strengths).astype(np.float32),
            moments=np.where(which, rng.uniform(-500, 500, n), matrix.moments),
        ),
    )


def same_histories(one, other):
    for name in ("starts", "columns", "weights", "recency"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_hidden_values_and_times_do_not_leak_into_histories(corpus, folds):
    for fold in folds:
        other = changed(corpus, fold.hidden)
        cold, new = (
            {case.situation: case for case in make_episodes(own, fold, BOOKS, seed=7)}["elsewhere"]
            for own in (corpus, other)
        )
        same_histories(cold.histories, new.histories)
        of_new = changed(corpus, fold.new_items[corpus.interactions.columns])
        for one, two in zip(
            make_episodes(corpus, fold, BOOKS, seed=7), make_episodes(of_new, fold, BOOKS, seed=7),
            strict=True,
        ):  # fmt: skip
            assert one.situation == two.situation
            same_histories(one.histories, two.histories)


def test_hidden_items_do_not_leak_into_histories(corpus, folds):
    """Every hidden book is another book: sources and cold users see the same."""
    for fold in folds:
        matrix, books = corpus.interactions, corpus.in_domain(BOOKS)
        member = np.isin(matrix.owners, fold.users) & books[matrix.columns]
        turned = np.where(member, (matrix.columns + 1) % books.sum(), matrix.columns)
        order = np.lexsort((turned, matrix.owners))
        other = replace(
            corpus,
            interactions=replace(
                matrix,
                columns=turned[order],
                strengths=matrix.strengths[order],
                moments=matrix.moments[order],
                likes=matrix.likes[order],
            ),
        )
        own = np.isin(other.interactions.owners, fold.users) & books[other.interactions.columns]
        same = Fold(fold.users, fold.new_items, own | fold.new_items[other.interactions.columns])
        one, two = (
            corpus.without_entries(fold.hidden).interactions,
            other.without_entries(same.hidden).interactions,
        )
        for name in ("starts", "columns", "strengths", "moments", "likes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
        cold, also = (
            next(e for e in make_episodes(c, f, BOOKS, seed=7) if e.situation == "elsewhere")
            for c, f in ((corpus, fold), (other, same))
        )
        both = np.intersect1d(cold.users, also.users)
        same_histories(
            cold.histories.take_users(np.searchsorted(cold.users, both)),
            also.histories.take_users(np.searchsorted(also.users, both)),
        )


def sources():
    return [Popularity(), Trend(), ItemKNN(shrink=1.0)]


def fitted(data):
    return CandidateGenerators(sources()).fit(data), ItemStatistics().fit(data)


def examples(corpus, **settings):
    how = ExampleSettings(**{"folds": 1, "depth": 12, "seed": 5, **settings})
    return make_examples(corpus, fitted, BOOKS, how)


def test_hidden_interactions_do_not_leak_into_features(corpus):
    (fold,) = make_folds(corpus, BOOKS, 1, seed=5)
    one, two = examples(corpus), examples(changed(corpus, fold.hidden))
    of_new = examples(changed(corpus, fold.new_items[corpus.interactions.columns]))
    assert list(one) == list(two) == list(of_new)
    for name in ("unknown", "elsewhere"):
        assert len(one[name].items)
        np.testing.assert_array_equal(one[name].features, two[name].features)
        np.testing.assert_array_equal(one[name].items, two[name].items)
    for name, own in one.items():
        np.testing.assert_array_equal(own.features, of_new[name].features)
        np.testing.assert_array_equal(own.items, of_new[name].items)


@pytest.mark.parametrize("folds", [1, 3])
def test_relevant_candidates_are_labelled(corpus, folds):
    liked = entries(corpus, domain=BOOKS, liked=True)
    for name, own in examples(corpus, folds=folds).items():
        for user, item, label in zip(own.users[own.owners], own.items, own.labels, strict=True):
            assert not label or (user, item) in liked
        assert (np.bincount(own.owners, own.labels, len(own)) <= own.n_relevant).all()
        assert own.features.shape == (len(own.items), len(own.columns))
        assert own.labels.any() == (name != "new items")  # these generators propose none


def test_users_are_limited_over_all_folds(corpus):
    for name, own in examples(corpus, folds=3, users=10).items():
        assert len(own) <= 12, name


def test_examples_are_taken_and_joined_whole(corpus):
    own = examples(corpus)["few"]
    order = np.array([3, 0, 2])
    some = own.take(order)
    assert some.users.tolist() == own.users[order].tolist()
    for at, example in enumerate(order):
        there, here = own.candidates_of(example), some.candidates_of(at)
        np.testing.assert_array_equal(some.features[here], own.features[there])
        assert some.items[here].tolist() == own.items[there].tolist()
        assert some.labels[here].tolist() == own.labels[there].tolist()
    both = join_examples([some, own])
    assert len(both) == 3 + len(own)
    assert both.items.tolist() == some.items.tolist() + own.items.tolist()
    assert both.starts[-1] == len(both.items)
    few, corrections = own.sampled(own.informative, 2, np.random.default_rng(0))
    assert few.users.tolist() == own.users[own.informative].tolist()
    assert few.labels.sum() == own.labels.sum()  # what is relevant is never sampled away
    assert not corrections[few.labels].any()
    assert (corrections >= 0).all()
    assert len(few.items) < len(own.items)


def test_the_metrics_are_those_of_the_order(corpus):
    own = examples(corpus)["elsewhere"]
    found, recall = own.metrics(own.labels.astype(np.float32))
    proposed = np.bincount(own.owners, own.labels, len(own))
    np.testing.assert_allclose(recall, proposed / own.n_relevant)
    assert (found[proposed == own.n_relevant] == 1).all()
    nothing = own.metrics(np.full(len(own.items), -np.inf, np.float32))
    assert not nothing[0].any()


def test_equal_seeds_make_equal_examples(corpus):
    one, two = examples(corpus), examples(corpus)
    for situation, own in one.items():
        for name in ("starts", "items", "features", "labels", "users", "n_relevant"):
            np.testing.assert_array_equal(
                getattr(own, name), getattr(two[situation], name), err_msg=name
            )


def test_domain_codes_are_those_of_the_training_data(corpus):
    assert corpus.domain_code("films") == FILMS
    assert corpus.domain_names == DOMAINS
