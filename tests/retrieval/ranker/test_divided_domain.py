"""Cross-domain users that are simulated in the target alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.ranker.divided_domain import (
    divide,
    divided_examples,
    sever,
    shares_too_few_users,
)
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, make_training_data

OTHER = 3  # the code after those of books, films and songs


@pytest.fixture(scope="module")
def shared():
    """Everybody likes books and films."""
    return make_training_data(users=80, items=24)


@pytest.fixture(scope="module")
def disjoint(shared):
    """The same, each person under one name for books and under another for films."""
    return sever(shared, BOOKS)


def pairs(data):
    """Return item, strength, time and liking of each entry, with the domain of the item."""
    matrix = data.interactions
    return sorted(
        zip(
            matrix.columns.tolist(), matrix.strengths.tolist(), matrix.moments.tolist(),
            matrix.likes.tolist(), strict=True,
        )
    )  # fmt: skip


def test_severed_users_are_in_one_domain_alone(shared, disjoint):
    matrix = disjoint.interactions
    in_books = np.bincount(matrix.owners, disjoint.in_domain(BOOKS)[matrix.columns], 160)
    assert np.all((in_books == 0) | (in_books == np.diff(matrix.starts)))
    assert pairs(disjoint) == pairs(shared)
    assert (disjoint.popularity == shared.popularity).all()


def test_users_are_shared_unless_they_are_severed(shared, disjoint):
    assert not shares_too_few_users(shared, BOOKS)
    assert shares_too_few_users(disjoint, BOOKS)
    books_alone = replace(
        shared, interactions=shared.interactions.restricted_to(shared.in_domain(BOOKS))
    )
    assert not shares_too_few_users(books_alone, BOOKS)  # there is no other domain to come from


@pytest.mark.parametrize("division", [0, 1])
def test_a_domain_is_divided_by_content_into_halves_with_as_many_likes(shared, division):
    divided = divide(shared, BOOKS, division)
    books = shared.in_domain(BOOKS)
    here, there = divided.in_domain(BOOKS), divided.in_domain(OTHER)
    assert (here ^ there == books).all()
    assert (divided.domains[~books] == shared.domains[~books]).all()
    assert not divided.popularity[~books].any()
    likes = divided.popularity
    assert abs(likes[here].sum() - likes[there].sum()) <= 2 * likes.max()
    contents = shared.contents
    between = contents[here].mean(axis=0) - contents[there].mean(axis=0)
    assert np.linalg.norm(between) > 0.3  # they are about different things
    edges = divided.content_graph.tocoo()
    assert (divided.domains[edges.row] == divided.domains[edges.col]).all()


def test_examples_are_of_the_other_half_and_nothing_is_learned_across(disjoint):
    seen = []

    def fitted(visible):
        seen.append(visible)
        generators = CandidateGenerators([Popularity(), ItemKNN()]).fit(visible)
        return generators, ItemStatistics().fit(visible)

    examples = divided_examples(disjoint, fitted, BOOKS, ExampleSettings(users=40, depth=5))
    assert len(seen) == 2
    for visible in seen:
        matrix = visible.interactions
        codes = visible.domains[matrix.columns]
        assert set(codes.tolist()) == {BOOKS, OTHER}
        inside = np.bincount(matrix.owners, codes == BOOKS, len(matrix.users))
        assert np.all((inside == 0) | (inside == np.diff(matrix.starts)))
    assert 0 < len(examples) <= 40
    assert (examples.n_relevant > 0).all()
    assert examples.labels.any()
    assert disjoint.in_domain(BOOKS)[examples.items].all()
    knn = [column.startswith("item-KNN:") for column in examples.columns]
    assert not examples.features[:, knn].any()  # no user tells it anything across


def test_without_contents_a_domain_cannot_be_divided(disjoint):
    blank = replace(
        disjoint,
        features=InMemoryItemFeatures(np.zeros((len(disjoint), 2), np.float32)),
        _content_graph=[], _tfidf=[], _projected=[], _contents=[],
    )  # fmt: skip
    made = divided_examples(blank, lambda _: pytest.fail("fitted"), BOOKS, ExampleSettings())
    assert made is None


def test_the_other_domain_may_be_the_target(disjoint):
    divided = divide(disjoint, FILMS, 0)
    assert divided.targets == ("films",)
    assert not divided.popularity[disjoint.in_domain(BOOKS)].any()
