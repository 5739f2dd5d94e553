"""What cold-start episodes hide does not leak into anything that the ranker reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.ranker.cold_start_episodes import (
    SHOTS,
    Fold,
    choose_validation_users,
    make_episodes,
    make_folds,
)
from isthmus.retrieval.ranker.examples import make_examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings
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
    hidden_users = np.concatenate([fold.users for fold in folds])
    liked = entries(corpus, domain=BOOKS, liked=True)
    assert sorted(hidden_users.tolist()) == sorted({user for user, _ in liked})
    (few,) = make_folds(corpus, BOOKS, 1, seed=5, max_users=4)
    assert len(few.users) == 4


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


def test_every_user_has_a_cold_episode_and_each_scenario_shows_its_number_of_items(corpus, folds):
    liked = entries(corpus, domain=BOOKS, liked=True)
    for fold in folds:
        cases = {case.scenario: case for case in make_episodes(corpus, fold, BOOKS, seed=7)}
        assert {"0", "1", "new"} <= set(cases) <= {"0", "1", "3", "5", "most", "new"}
        counts = {
            user: sum(u == user and not fold.new_items[item] for u, item in liked)
            for user in fold.users.tolist()
        }
        assert set(cases["0"].users.tolist()) == {user for user, n in counts.items() if n}
        for shots in SHOTS:
            if str(shots) not in cases:
                continue
            case = cases[str(shots)]
            assert (case.histories.counts(corpus.in_domain(BOOKS)) == shots).all()
            assert not fold.new_items[case.histories.columns].any()
            assert not case.allowed[fold.new_items].any()
            for user, n in zip(case.users, np.bincount(case.owners), strict=True):
                assert n == counts[user] - shots
        new = cases["new"]
        assert new.allowed.tolist() == fold.new_items.tolist()
        assert not fold.new_items[new.histories.columns].any()


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
            {case.scenario: case for case in make_episodes(data, fold, BOOKS, seed=7)}["0"]
            for data in (corpus, other)
        )
        same_histories(cold.histories, new.histories)
        of_new = changed(corpus, fold.new_items[corpus.interactions.columns])
        for one, two in zip(
            make_episodes(corpus, fold, BOOKS, seed=7), make_episodes(of_new, fold, BOOKS, seed=7),
            strict=True,
        ):  # fmt: skip
            assert one.scenario == two.scenario
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
        hidden_rows = (
            np.isin(other.interactions.owners, fold.users) & books[other.interactions.columns]
        )
        same = Fold(
            fold.users, fold.new_items, hidden_rows | fold.new_items[other.interactions.columns]
        )
        one, two = (
            corpus.without_entries(fold.hidden).interactions,
            other.without_entries(same.hidden).interactions,
        )
        for name in ("starts", "columns", "strengths", "moments", "likes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
        cold, also = (
            next(iter(make_episodes(c, f, BOOKS, seed=7)))
            for c, f in ((corpus, fold), (other, same))
        )
        both = np.intersect1d(cold.users, also.users)
        same_histories(
            cold.histories.take_users(np.searchsorted(cold.users, both)),
            also.histories.take_users(np.searchsorted(also.users, both)),
        )


def sources():
    return [Popularity(), Trend(), ItemKNN(shrink=1.0)]


def examples(corpus, **settings):
    how = ExampleSettings(**{"folds": 1, "depth": 12, "seed": 5, **settings})
    return make_examples(corpus, sources, ItemStatistics, BOOKS, how)


def test_hidden_interactions_do_not_leak_into_features(corpus):
    (fold,) = make_folds(corpus, BOOKS, 1, seed=5)
    one, two = examples(corpus), examples(changed(corpus, fold.hidden))
    of_new = examples(changed(corpus, fold.new_items[corpus.interactions.columns]))
    assert one.scenarios.tolist() == two.scenarios.tolist() == of_new.scenarios.tolist()
    cold, also = (np.repeat(each.scenarios == "0", np.diff(each.starts)) for each in (one, two))
    assert cold.any()
    np.testing.assert_array_equal(one.features[cold], two.features[also])
    np.testing.assert_array_equal(one.items[cold], two.items[also])
    np.testing.assert_array_equal(one.features, of_new.features)
    np.testing.assert_array_equal(one.items, of_new.items)


@pytest.mark.parametrize("folds", [1, 2, 3])
def test_a_validation_user_is_one_in_every_example(corpus, folds):
    made = examples(corpus, folds=folds)
    by_user: dict[int, set[bool]] = {}
    for user, tested in zip(made.users.tolist(), made.validation.tolist(), strict=True):
        by_user.setdefault(user, set()).add(tested)
    assert all(len(kinds) == 1 for kinds in by_user.values())
    assert {True} in by_user.values()
    assert {False} in by_user.values()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("folds", [1, 3])
def test_small_domains_have_validation_users_too(seed, folds):
    small = make_training_data(users=20, items=24, seed=seed)
    made = list(make_folds(small, BOOKS, folds, seed))
    tested = choose_validation_users(small, made, BOOKS, 0.1, seed)
    hidden_users = np.concatenate([fold.users for fold in made])
    assert 1 <= tested[hidden_users].sum() <= max(1, len(hidden_users) // 2)
    cold = [case.users for fold in made for case in make_episodes(small, fold, BOOKS, seed)]
    assert tested[np.concatenate(cold)].any()


def test_relevant_candidates_are_labelled_and_never_sampled_away(corpus):
    made = examples(corpus, sampled_negatives=1)
    liked = entries(corpus, domain=BOOKS, liked=True)
    owners = np.repeat(made.users, np.diff(made.starts))
    for user, item, label in zip(owners, made.items, made.labels, strict=True):
        assert not label or (user, item) in liked
    assert (made.log_probabilities <= 0).all()
    assert not made.log_probabilities[made.labels].any()
    tested = np.repeat(made.validation, np.diff(made.starts))
    assert not made.log_probabilities[tested].any()  # of the tested every candidate is kept
    assert (made.log_probabilities < 0).any()
    places = np.repeat(np.arange(len(made)), np.diff(made.starts))
    assert (np.bincount(places, made.labels, len(made)) <= made.n_relevant).all()


def test_equal_seeds_make_equal_examples(corpus):
    one, two = examples(corpus), examples(corpus)
    for name in (
        "starts",
        "items",
        "features",
        "labels",
        "log_probabilities",
        "evidence",
        "validation",
    ):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_domain_codes_are_those_of_the_training_data(corpus):
    assert corpus.domain_code("films") == FILMS
    assert corpus.domain_names == DOMAINS
