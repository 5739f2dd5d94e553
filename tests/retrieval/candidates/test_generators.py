"""Every candidate generator runs the contract; and what only some of them do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.content_smoothed_item_knn import ContentSmoothedItemKNN
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.factor_regression import FactorRegression
from isthmus.retrieval.candidates.generators import (
    CandidateGenerators,
    default_generators,
    without,
)
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.profile_regression import ProfileRegression
from isthmus.retrieval.candidates.tfidf_overlap import TfidfOverlap
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.candidates.user_knn import UserKNN
from tests.retrieval.candidates.generator_contract import (
    ITEMS,
    NEW,
    USERS,
    CandidateGeneratorContract,
    best,
    pairs,
)
from tests.retrieval.candidates.toy_data import (
    BOOKS,
    FILMS,
    histories_of,
    make_training_data,
    quick_generators,
)

NAMES = [generator.name for generator in quick_generators()]


class TestPopularity(CandidateGeneratorContract):
    def make(self):
        return Popularity()


class TestTrend(CandidateGeneratorContract):
    def make(self):
        return Trend()


class TestItemKNN(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return ItemKNN()


class TestPopularItemKNN(CandidateGeneratorContract):
    def make(self):
        return ItemKNN(alpha=0.5, beta=0.1, shrink=5.0)


class TestConditionalItemKNN(CandidateGeneratorContract):
    def make(self):
        return ItemKNN(alpha=1.0, beta=0.0, shrink=100.0)


class TestInDomainItemKNN(CandidateGeneratorContract):
    def make(self):
        return ItemKNN("item-KNN (in-domain)", in_domain=True)


class TestJaccardItemKNN(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return ItemKNN(jaccard=True, k=None, max_user_items=None)


class TestEASE(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return EASE(l2=5.0, rank=12)


class TestExactEASE(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return EASE(rank=None)


class TestInDomainEASE(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return EASE("EASE (in-domain)", l2=5.0, in_domain=True)


class TestUserKNN(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return UserKNN()


class TestALS(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return ALS(factors=8, iterations=3, regularization=1.0)


class TestALSOfTwoSeeds(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return ALS(factors=8, iterations=3, regularization=1.0, seeds=2)


class TestFactorRegression(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return FactorRegression(factors=8, iterations=3, regularization=1.0, min_shared=10)


class TestProfileRegression(CandidateGeneratorContract):
    ignores_new_items = True

    def make(self):
        return ProfileRegression(factors=8, iterations=3, regularization=1.0)


class TestContent(CandidateGeneratorContract):
    def make(self):
        return Content()


class TestMaxContent(CandidateGeneratorContract):
    def make(self):
        return Content("max")


class TestMeanContent(CandidateGeneratorContract):
    def make(self):
        return Content("mean")


class TestContentSmoothedItemKNN(CandidateGeneratorContract):
    uses_content_graph = True

    def make(self):
        return ContentSmoothedItemKNN()


class TestTfidfOverlap(CandidateGeneratorContract):
    def make(self):
        return TfidfOverlap()


class TestTwoTower(CandidateGeneratorContract):
    def make(self):
        return TwoTower(epochs=2, dim=16, batch_size=16)


def test_every_default_generator_runs_the_contract():
    classes = CandidateGeneratorContract.__subclasses__()
    tested = {each().make().name for each in classes}
    assert tested >= {generator.name for generator in default_generators()}


UNUSUAL = {
    "one user": {"users": 1},
    "two users": {"users": 2},
    "one item of each domain": {"items": 1, "users": 3},
}


@pytest.mark.parametrize("unusual", UNUSUAL)
@pytest.mark.parametrize("name", NAMES)
def test_generators_are_fitted_to_unusual_data(unusual, name):
    (generator,) = [generator_ for generator_ in quick_generators() if generator_.name == name]
    data = make_training_data(**({"items": ITEMS} | UNUSUAL[unusual]))
    generator.fit(data)
    for target in (BOOKS, FILMS):
        lists = best(generator, data, histories_of([0], [1], [0, 1], []), target)
        assert len(lists) == 4
        assert all(np.isfinite(scores).all() for _, scores in lists)
        assert np.isfinite(pairs(generator, data, histories_of([0], []), target)).all()


@pytest.mark.parametrize("name", NAMES)
def test_generators_are_fitted_where_all_events_are_of_one_moment(name):
    (generator,) = [generator_ for generator_ in quick_generators() if generator_.name == name]
    data = make_training_data(items=ITEMS)
    moments = np.full(len(data.interactions), 1.7e9)
    data = replace(data, interactions=replace(data.interactions, moments=moments))
    for _, scores in best(generator.fit(data), data, histories_of([0, 25], []), FILMS):
        assert np.isfinite(scores).all()


def test_generators_are_stored_and_restored_together():
    data = make_training_data(items=ITEMS)
    grown = make_training_data(items=ITEMS, new=NEW)
    taught = CandidateGenerators(quick_generators()[:6]).fit(data)
    restored = CandidateGenerators(quick_generators()[:6]).restore(taught.state())
    assert restored.names == taught.names
    for name in taught.names:
        one = best(taught[name], grown, USERS, FILMS)
        other = best(restored[name], grown, USERS, FILMS)
        assert [i.tolist() for i, _ in one] == [i.tolist() for i, _ in other]


def test_names_must_differ():
    for wrong in ([], [Popularity(), Popularity()]):
        with pytest.raises(InvalidInput, match="one generator or more, each with a name of its"):
            CandidateGenerators(wrong)


def test_generators_can_be_left_out():
    left = without(quick_generators(), "ALS", "trend")
    assert [generator.name for generator in left] == [n for n in NAMES if n not in ("ALS", "trend")]


def test_popularity_counts_users_who_liked():
    data = make_training_data(items=ITEMS)
    matrix = data.interactions
    counts = np.bincount(matrix.columns[matrix.likes], minlength=len(data))
    table = pairs(Popularity().fit(data), data, histories_of([]), BOOKS)
    assert table[0].tolist() == counts.tolist()


def test_trend_weighs_recent_likes_and_scores_nothing_without_times():
    data = make_training_data(items=ITEMS)
    matrix = data.interactions
    last = matrix.columns[matrix.likes][np.argmax(matrix.moments[matrix.likes])]
    trend, popularity = Trend().fit(data), Popularity().fit(data)
    shares = [
        pairs(each, data, histories_of([]), BOOKS)[0, last]
        / pairs(each, data, histories_of([]), BOOKS)[0].sum()
        for each in (trend, popularity)
    ]
    assert shares[0] > shares[1]
    timeless = replace(
        data,
        interactions=replace(matrix, moments=np.full(len(matrix), np.nan)),
        _content_graph=[],
    )
    silent = type(trend)().fit(timeless)
    assert not pairs(silent, timeless, histories_of([0]), BOOKS).any()


def test_content_uses_the_strongest_items_of_a_long_history():
    vectors = np.zeros((250, 2), np.float32)
    vectors[:240, 1], vectors[0], vectors[240:] = 1, [1, 0], [1, 0]
    data = make_training_data(users=0, items=125)
    data = replace(data, features=InMemoryItemFeatures(vectors), domains=np.zeros(250, np.int64))
    strengths = np.full(240, 1e-4, np.float32)
    strengths[0] = 1
    long = UserHistories.from_lists([np.arange(240)], [strengths])
    ((items, _),) = best(Content().fit(data), data, long, BOOKS)
    assert sorted(items.tolist()) == list(range(240, 250))
