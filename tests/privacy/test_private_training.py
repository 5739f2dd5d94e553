"""Private trainings of a space: what they promise, record, refuse and leave out."""

from __future__ import annotations

import json
import tomllib

import pytest
import tomli_w

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.privacy.budget import read_budget
from isthmus.retrieval.recommend import private_training
from isthmus.retrieval.recommend.request import TrainSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import checkerboard, taste_of

USERS = 400


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Space:
    """A shop with a private recommender; much is spent, so that noise hides no taste."""
    space = checkerboard(tmp_path_factory.mktemp("private") / "shop.space", users=USERS)
    space.train(private=True, epsilon=30.0)
    space.publish()
    return space


@pytest.fixture
def shop(tmp_path) -> Space:
    return checkerboard(tmp_path / "shop.space", users=40)


def limit(space: Space, total: float) -> None:
    """Set the total of the space, as by hand."""
    file = space.path / "space.toml"
    values = tomllib.loads(file.read_text())
    file.write_text(tomli_w.dumps({**values, "privacy": {"total_epsilon": total}}))


def test_tastes_cross_from_films_to_books_under_noise(trained):
    for taste in range(8):
        user = User(history=[f"films-{taste}-{n}" for n in range(3)])
        found = [taste_of(hit.item_id) for hit in trained.recommend(user, domain="books", k=4)]
        assert found.count(taste) >= 3


def test_the_release_states_what_is_promised(trained):
    made = trained.releases()[-1].privacy
    assert made is not None
    assert (made.epsilon, made.delta, made.max_rows, made.max_norm) == (30.0, 1e-6, 300, 1.0)
    assert made.unit == "one user, with all rows in all domains; added or removed"
    assert [one.name for one in made.mechanisms] == ["popularity", "Gram matrix"]
    assert made.modelled_items == 96
    assert any("joint differential privacy" in what for what in made.not_covered)
    assert trained.status()["recommender"]["privacy"] == made.model_dump()
    folder = trained.path / "releases"
    card = next(folder.glob("*/recommender/MODEL_CARD.md")).read_text()
    assert "Differentially private with epsilon 30 and delta 1e-06." in card
    assert "* Left out: user-KNN (it learns from rows of users" in card


def test_generators_that_read_rows_are_left_out_and_said(trained):
    recommender = load_recommender(next((trained.path / "releases").glob("*/recommender")))
    assert recommender.generators.names == (
        "popularity",
        "item-KNN",
        "item-KNN (in-domain)",
        "EASE",
        private_training.BROAD,
        "content",
        "content-smoothed item-KNN",
        "TF-IDF overlap",
    )
    description = json.loads(
        next((trained.path / "releases").glob("*/recommender/recommender.json")).read_text()
    )
    assert set(description["reports"]["books"]["left_out"]) == {
        "trend",
        "user-KNN",
        "ALS",
        "factor regression",
        "profile regression",
    }


def test_nobody_is_in_the_data_that_generators_are_fitted_to(shop, monkeypatch):
    """What is computed after the sums is post-processing, whatever it does."""
    seen = []
    fit = private_training.CandidateGenerators.fit
    monkeypatch.setattr(
        private_training.CandidateGenerators,
        "fit",
        lambda self, data, show: seen.append(data) or fit(self, data, show=show),
    )
    shop.train(private=True, epsilon=3.0)
    (data,) = seen
    assert len(data.interactions.users) == len(data.interactions) == data.liked.nnz == 0


def test_what_is_spent_is_recorded_before_anything_is_computed(shop, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("the machine stops")

    monkeypatch.setattr(private_training, "release_statistics", fails)
    with pytest.raises(RuntimeError, match="the machine stops"):
        shop.train(private=True, epsilon=3.0)
    assert read_budget(shop.path).spent(1e-6) == pytest.approx(3.0, rel=1e-6)


def test_a_training_beyond_the_total_is_refused(shop):
    limit(shop, 4.0)
    first = shop.train(private=True, epsilon=3.0)
    assert first.privacy.spent_epsilon == pytest.approx(3.0, rel=1e-6)
    with pytest.raises(InvalidInput, match=r"total_epsilon in space\.toml is 4; train with"):
        shop.train(private=True, epsilon=3.0)
    again = shop.train(private=True, epsilon=2.0)
    assert 3 < again.privacy.spent_epsilon <= 4
    assert len(read_budget(shop.path).expenses) == 2


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ({"private": True}, {}, "a private training needs a budget; give epsilon, such as 3"),
        ({"private": True, "epsilon": 0.0}, {}, "epsilon is 0; give a finite number above 0"),
        ({"private": True, "epsilon": -1.0}, {}, "epsilon is -1; give a finite number above 0"),
        (
            {"private": True, "epsilon": 3.0, "delta": 0.025},
            {},
            "delta is 0.025, and there are 40 users; it must be above 0 and below 1 / 40 = 0.025",
        ),
        ({"epsilon": 3.0}, {}, "epsilon and delta are of a private training; set private"),
        ({"delta": 1e-6}, {}, "epsilon and delta are of a private training; set private"),
        (
            {"private": True, "epsilon": 3.0, "pretrain": ["films"]},
            {},
            "pretrain makes a ranker learn from rows of users",
        ),
        (
            {"private": True, "epsilon": 3.0, "targets": ["boats"]},
            {},
            "no domain 'boats'; there are",
        ),
        (
            {"private": True, "epsilon": 3.0},
            {"tuning_trials": 3},
            "tuning_trials makes a ranker learn from rows of users",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused_and_spends_nothing(shop, arguments, settings, message):
    with pytest.raises(InvalidInput) as caught:
        shop.train(**arguments, settings=TrainSettings(**settings))
    assert message in str(caught.value)
    assert read_budget(shop.path).expenses == []


def test_where_all_drowns_in_noise_lists_are_by_popularity_and_content(shop, same_noise):
    rankers = {}
    for epsilon in (0.05, 100.0):
        made = shop.train(private=True, epsilon=epsilon)
        rankers[epsilon] = made.rankers["books"]["models"]
    parts = [part["generator"] for part in rankers[0.05]["more"]["models"]]
    assert parts == ["popularity", "content"]
    assert rankers[100.0]["more"]["generator"] == "EASE"
    assert rankers[100.0]["cross-domain"]["generator"] == private_training.BROAD


def test_two_trainings_of_the_same_data_differ_by_their_noise(shop):
    sums = []
    for _ in range(2):
        shop.train(private=True, epsilon=3.0, settings=RecommenderSettings(seed=5))
        folder = shop.path / "training" / "recommender"
        sums.append(load_recommender(folder).generators.state()["EASE/weights"])
    assert (sums[0] != sums[1]).any()


def test_other_recommenders_promise_nothing(board):
    assert board.releases()[-1].privacy is None
    assert board.status()["recommender"]["privacy"] is None
    card = next((board.path / "releases").glob("*/recommender/MODEL_CARD.md")).read_text()
    assert "Users have no differential privacy" in card
