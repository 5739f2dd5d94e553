"""Simulated users, and the choice of hyperparameters on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import pytest

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.factor_regression import FactorRegression
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.profile_regression import ProfileRegression
from isthmus.retrieval.candidates.simulated_users import Simulation
from isthmus.retrieval.candidates.situations import CROSS_DOMAIN, FEW
from isthmus.retrieval.candidates.tuning import tune_generators
from isthmus.retrieval.candidates.user_knn import UserKNN
from tests.retrieval.candidates.generator_contract import USERS, pairs
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, make_training_data


@pytest.fixture(scope="module")
def data():
    """Users with a dozen items, most of them from the first half of each domain."""
    one, other = (make_training_data(users=300, seed=seed).interactions for seed in (0, 1))
    data = make_training_data(users=300)
    both = (one.seen + other.seen).tocsr()
    rng = np.random.default_rng(0)
    both.data[:] = (both.indices % 24 < 12) | (rng.random(both.nnz) < 0.1)
    both.eliminate_zeros()
    both.sort_indices()
    matrix = InteractionMatrix(
        users=one.users,
        items=one.items,
        starts=both.indptr.astype(np.int64),
        columns=both.indices.astype(np.int64),
        strengths=np.ones(both.nnz, np.float32),
        moments=np.full(both.nnz, np.nan),
        likes=np.ones(both.nnz, bool),
    )
    return replace(data, interactions=matrix, targets=("books", "films"))


@pytest.fixture(scope="module")
def simulation(data):
    return Simulation.of(data)


@dataclass
class Scaled(Popularity):
    """Popularity times a factor, to tell good configurations from bad ones."""

    name: ClassVar[str] = "scaled"
    factor: float = 0.01

    def fit_grid(self, data) -> Iterator[Self]:
        for factor in (self.factor, -1.0, 1.0, -2.0):
            yield replace(self, factor=factor).fit(data)

    def _count(self, data):
        counts = super()._count(data)
        return np.where(counts > 0, self.factor * counts + 100, 0).astype(np.float32)


@dataclass
class Failing(Popularity):
    name: ClassVar[str] = "failing"

    def fit(self, data):
        raise np.linalg.LinAlgError("Singular matrix")


@dataclass
class NotFinite(Popularity):
    name: ClassVar[str] = "not finite"

    def _count(self, data):
        return np.where(data.popularity > 0, np.inf, 0).astype(np.float32)


def test_what_simulated_users_did_in_their_target_is_hidden(data, simulation):
    names = {(some.target, some.situation) for some in simulation.users}
    assert names >= {(target, name) for target in (BOOKS, FILMS) for name in (CROSS_DOMAIN, FEW)}
    assert len(simulation.data.interactions) < len(data.interactions)
    hidden_users = len(data.interactions.users) * 0.2 * 2
    changed = np.diff(data.interactions.starts) != np.diff(simulation.data.interactions.starts)
    assert 0 < changed.sum() <= hidden_users
    for some in simulation.users:
        histories = some.histories
        inside = simulation.data.in_domain(some.target)
        shown = histories.counts(inside)
        if some.situation == CROSS_DOMAIN:
            assert not shown.any()
            assert histories.counts().all()
        if some.situation == FEW:
            assert (shown == 3).all()
        users, items = np.divmod(some.relevant, len(data))
        assert inside[items].all()
        assert set(users.tolist()) == set(range(len(histories)))
        known = histories.owners * len(data) + histories.columns
        assert not np.isin(some.relevant, known).any()


def test_the_popular_items_are_a_better_list_than_the_unpopular(simulation):
    good, bad = (Scaled(factor=factor).fit(simulation.data) for factor in (1.0, -1.0))
    assert simulation.score(good) > simulation.score(bad) > 0
    assert simulation.count(0.25) < simulation.count()


def test_the_best_configuration_is_chosen_and_every_trial_is_reported(data):
    (chosen,), (report,) = tune_generators([Scaled()], data)
    assert isinstance(chosen, Scaled)
    assert chosen.factor in (0.01, 1.0)  # the same order of items
    assert report.best == chosen.settings()
    assert [trial.settings["factor"] for trial in report.trials[:4]] == [0.01, -1.0, 1.0, -2.0]
    assert {trial.settings["factor"] for trial in report.trials[4:]} == {0.01, 1.0}
    assert report.trials[0].users < report.trials[4].users
    assert report.failure is None
    assert not hasattr(chosen, "_scores")  # it is not fitted


@pytest.mark.parametrize("broken", [Failing(), NotFinite()])
def test_a_generator_that_fails_is_left_out_and_reported(data, broken):
    chosen, reports = tune_generators([Popularity(), broken], data)
    assert [generator.name for generator in chosen] == ["popularity"]
    assert reports[0].failure is None
    assert any(word in reports[1].failure for word in ("Singular matrix", "not finite"))


def test_without_users_to_simulate_the_first_configuration_stays():
    data = make_training_data(users=3)
    generators, _ = tune_generators([EASE(l2=7.0), UserKNN(k=9)], data)
    assert [generators[0].l2, generators[1].k] == [7.0, 9]


GRIDS: list[CandidateGenerator] = [
    EASE(l2=5.0, rank=20),
    EASE("EASE (in-domain)", in_domain=True),
    EASE(rank=None),
    ALS(factors=8, iterations=3),
    FactorRegression(factors=8, iterations=3),
    ProfileRegression(factors=8, iterations=3),
    ItemKNN(),
    UserKNN(),
    Popularity(),
]


@pytest.mark.parametrize("generator", GRIDS, ids=lambda generator: generator.name)
def test_a_grid_begins_with_the_present_configuration_and_repeats_none(data, generator):
    settings = [repr(other.settings()) for other in generator.fit_grid(data)]
    assert settings[0] == repr(generator.settings())
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize("generator", [EASE(rank=20), ItemKNN(), UserKNN()], ids=lambda g: g.name)
def test_a_configuration_of_a_grid_scores_as_if_fitted_alone(data, generator):
    for configuration in generator.fit_grid(data):
        alone = type(generator)(**configuration.settings()).fit(data)
        np.testing.assert_allclose(
            pairs(configuration, data, USERS.first_items(len(data)), FILMS),
            pairs(alone, data, USERS.first_items(len(data)), FILMS),
            atol=2e-2 if isinstance(generator, EASE) else 1e-6,
        )
