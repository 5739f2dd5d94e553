"""What cold-start episodes hide does not leak into anything that the ranker reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.situations import SITUATIONS
from isthmus.retrieval.ranker.cold_start_episodes import (
    Fold,
    make_episodes,
    make_folds,
)
from isthmus.retrieval.ranker.examples import join_examples, make_examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings
from tests.retrieval.candidates.toy_data import BOOKS, DOMAINS, FILMS, make_training_data

USERS = 60


@pytest.fixture(scope="module")
def training_data():
    return make_training_data(users=USERS, items=24)


@pytest.fixture(scope="module", params=[1, 3])
def folds(request, training_data):
    return list(make_folds(training_data, BOOKS, request.param, seed=5))


def pairs(owners, columns):
    return set(zip(owners.tolist(), columns.tolist(), strict=True))


def entries(training_data, *, domain=None, liked=False):
    """Return the pairs of user and item of a training_data."""
    matrix = training_data.interactions
    kept = np.ones(len(matrix), bool)
    if domain is not None:
        kept &= training_data.domains[matrix.columns] == domain
    if liked:
        kept &= matrix.likes
    return pairs(matrix.owners[kept], matrix.columns[kept])


def test_generators_do_not_see_the_hidden_interactions_of_a_fold(training_data, folds):
    for fold in folds:
        seen = entries(training_data.without_entries(fold.hidden))
        books = training_data.in_domain(BOOKS)
        assert seen == {
            (user, item)
            for user, item in entries(training_data)
            if not fold.new_items[item] and not (user in fold.users and books[item])
        }
        assert fold.new_items.sum() == 2
        assert books[fold.new_items].all()


def test_folds_partition_the_users_of_the_domain(training_data):
    folds = list(make_folds(training_data, BOOKS, 3, seed=5))
    met = np.concatenate([fold.users for fold in folds])
    liked = entries(training_data, domain=BOOKS, liked=True)
    assert sorted(met.tolist()) == sorted({user for user, _ in liked})
    (few,) = make_folds(training_data, BOOKS, 1, seed=5)
    assert len(few.users) == len(met) // 5


def test_relevant_items_are_liked_and_hidden_and_never_shown(training_data, folds):
    liked = entries(training_data, domain=BOOKS, liked=True)
    for fold in folds:
        seen = entries(training_data.without_entries(fold.hidden))
        for case in make_episodes(training_data, fold, BOOKS, seed=7):
            assert not case.allowed.flags.writeable  # so that neighbours are cached by it
            labels = pairs(case.users[case.owners], case.relevant)
            shown = pairs(case.users[case.histories.owners], case.histories.columns)
            assert labels
            assert labels <= liked
            assert not labels & shown
            assert not labels & seen
            assert shown <= entries(training_data, liked=True)
            assert case.allowed[case.relevant].all()
            assert not (case.allowed & ~training_data.in_domain(BOOKS)).any()
            assert len(case.histories) == len(case.users)
            assert set(case.owners.tolist()) == set(range(len(case.users)))


def test_each_situation_shows_what_is_known_in_it(training_data, folds):
    liked = entries(training_data, domain=BOOKS, liked=True)
    books = training_data.in_domain(BOOKS)
    for fold in folds:
        cases = {case.situation: case for case in make_episodes(training_data, fold, BOOKS, seed=7)}
        assert {"unknown", "cross-domain", "few", "new items"} <= set(cases) <= set(SITUATIONS)
        counts = {
            user: sum(u == user and not fold.new_items[item] for u, item in liked)
            for user in fold.users.tolist()
        }
        somebody = {user for user, n in counts.items() if n}
        assert set(cases["unknown"].users.tolist()) == somebody
        assert not len(cases["unknown"].histories.columns)
        cross_domain = cases["cross-domain"]
        assert set(cross_domain.users.tolist()) <= somebody
        assert (cross_domain.histories.counts(books) == 0).all()
        assert (cross_domain.histories.counts() > 0).all()
        few = cases["few"]
        shown = few.histories.counts(books)
        assert ((shown >= 1) & (shown <= 5)).all()
        for name in ("unknown", "cross-domain", "few"):
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


def test_users_of_a_situation_are_limited_and_unknown_ones_come_first(training_data):
    matrix = training_data.interactions
    lonely = matrix.owners % 3 == 0  # a third of the users did nothing outside of the books
    hidden = lonely & ~training_data.in_domain(BOOKS)[matrix.columns]
    some = training_data.without_entries(hidden)
    (fold,) = make_folds(some, BOOKS, 1, seed=5)
    cases = {
        case.situation: case.users.tolist()
        for case in make_episodes(some, fold, BOOKS, seed=7, max_users=3)
    }
    assert {len(users) for users in cases.values()} == {3}
    assert all(user % 3 == 0 for user in cases["unknown"])
    assert not any(user % 3 == 0 for user in cases["cross-domain"])


def changed(training_data, which, seed=1):
    """Change values and times of some entries, but not what is liked."""
    rng, matrix = np.random.default_rng(seed), training_data.interactions
    n = len(matrix)
    return replace(
        training_data,
        interactions=replace(
            matrix,
            strengths=np.where(which, rng.uniform(1, 90, n), matrix.strengths).astype(np.float32),
            moments=np.where(which, rng.uniform(-500, 500, n), matrix.moments),
        ),
    )


def same_histories(one, other):
    for name in ("starts", "columns", "weights", "recency"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_hidden_values_and_times_do_not_leak_into_histories(training_data, folds):
    for fold in folds:
        other = changed(training_data, fold.hidden)
        cold, new = (
            {case.situation: case for case in make_episodes(part, fold, BOOKS, seed=7)}[
                "cross-domain"
            ]
            for part in (training_data, other)
        )
        same_histories(cold.histories, new.histories)
        of_new = changed(training_data, fold.new_items[training_data.interactions.columns])
        for one, two in zip(
            make_episodes(training_data, fold, BOOKS, seed=7),
            make_episodes(of_new, fold, BOOKS, seed=7),
            strict=True,
        ):
            assert one.situation == two.situation
            same_histories(one.histories, two.histories)


def test_hidden_items_do_not_leak_into_histories(training_data, folds):
    """Every hidden book is another book: sources and cold users see the same."""
    for fold in folds:
        matrix, books = training_data.interactions, training_data.in_domain(BOOKS)
        member = np.isin(matrix.owners, fold.users) & books[matrix.columns]
        turned = np.where(member, (matrix.columns + 1) % books.sum(), matrix.columns)
        order = np.lexsort((turned, matrix.owners))
        other = replace(
            training_data,
            interactions=replace(
                matrix,
                columns=turned[order],
                strengths=matrix.strengths[order],
                moments=matrix.moments[order],
                likes=matrix.likes[order],
            ),
        )
        part = np.isin(other.interactions.owners, fold.users) & books[other.interactions.columns]
        same = Fold(fold.users, fold.new_items, part | fold.new_items[other.interactions.columns])
        one, two = (
            training_data.without_entries(fold.hidden).interactions,
            other.without_entries(same.hidden).interactions,
        )
        for name in ("starts", "columns", "strengths", "moments", "likes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
        cold, also = (
            next(e for e in make_episodes(c, f, BOOKS, seed=7) if e.situation == "cross-domain")
            for c, f in ((training_data, fold), (other, same))
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


def examples(training_data, **settings):
    how = ExampleSettings(**{"folds": 1, "depth": 12, "seed": 5, **settings})
    return make_examples(training_data, fitted, BOOKS, how)


def test_hidden_interactions_do_not_leak_into_features(training_data):
    (fold,) = make_folds(training_data, BOOKS, 1, seed=5)
    one, two = examples(training_data), examples(changed(training_data, fold.hidden))
    of_new = examples(changed(training_data, fold.new_items[training_data.interactions.columns]))
    assert list(one) == list(two) == list(of_new)
    for name in ("unknown", "cross-domain"):
        assert len(one[name].items)
        np.testing.assert_array_equal(one[name].features, two[name].features)
        np.testing.assert_array_equal(one[name].items, two[name].items)
    for name, part in one.items():
        np.testing.assert_array_equal(part.features, of_new[name].features)
        np.testing.assert_array_equal(part.items, of_new[name].items)


@pytest.mark.parametrize("folds", [1, 3])
def test_relevant_candidates_are_labelled(training_data, folds):
    liked = entries(training_data, domain=BOOKS, liked=True)
    for name, part in examples(training_data, folds=folds).items():
        for user, item, label in zip(part.users[part.owners], part.items, part.labels, strict=True):
            assert not label or (user, item) in liked
        assert (np.bincount(part.owners, part.labels, len(part)) <= part.n_relevant).all()
        assert part.features.shape == (len(part.items), len(part.columns))
        assert part.labels.any() == (name != "new items")  # these generators propose none


def test_users_are_limited_over_all_folds(training_data):
    for name, part in examples(training_data, folds=3, users=10).items():
        assert len(part) <= 12, name


def test_examples_are_taken_and_joined_whole(training_data):
    part = examples(training_data)["few"]
    order = np.array([3, 0, 2])
    some = part.take(order)
    assert some.users.tolist() == part.users[order].tolist()
    for at, example in enumerate(order):
        there, here = part.candidates_of(example), some.candidates_of(at)
        np.testing.assert_array_equal(some.features[here], part.features[there])
        assert some.items[here].tolist() == part.items[there].tolist()
        assert some.labels[here].tolist() == part.labels[there].tolist()
    both = join_examples([some, part])
    assert len(both) == 3 + len(part)
    assert both.items.tolist() == some.items.tolist() + part.items.tolist()
    assert both.starts[-1] == len(both.items)
    few, corrections = part.sampled(part.informative, 2, np.random.default_rng(0))
    assert few.users.tolist() == part.users[part.informative].tolist()
    assert few.labels.sum() == part.labels.sum()  # what is relevant is never sampled away
    assert not corrections[few.labels].any()
    assert (corrections >= 0).all()
    assert len(few.items) < len(part.items)


def test_the_metrics_are_those_of_the_order(training_data):
    part = examples(training_data)["cross-domain"]
    found, recall = part.metrics(part.labels.astype(np.float32))
    proposed = np.bincount(part.owners, part.labels, len(part))
    np.testing.assert_allclose(recall, proposed / part.n_relevant)
    assert (found[proposed == part.n_relevant] == 1).all()
    nothing = part.metrics(np.full(len(part.items), -np.inf, np.float32))
    assert not nothing[0].any()


def test_equal_seeds_make_equal_examples(training_data):
    one, two = examples(training_data), examples(training_data)
    for situation, part in one.items():
        for name in ("starts", "items", "features", "labels", "users", "n_relevant"):
            np.testing.assert_array_equal(
                getattr(part, name), getattr(two[situation], name), err_msg=name
            )


def test_domain_codes_are_those_of_the_training_data(training_data):
    assert training_data.domain_code("films") == FILMS
    assert training_data.domain_names == DOMAINS
