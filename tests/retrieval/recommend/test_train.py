"""Training a space: refusals, reports, and resuming."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.situations import SITUATIONS
from isthmus.retrieval.ranker.selection import SituationTraining
from isthmus.retrieval.recommend.request import TrainSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings, recommender_settings
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import BRIEF, FEW, checkerboard, name, taste_of
from tests.retrieval.recommend.worlds import board as deeds
from tests.toy import item, text_encoder

INTERACTIONS = 64 * 8


@pytest.fixture
def shop(tmp_path):
    return checkerboard(tmp_path / "shop.space", users=64)


def test_the_report_describes_the_training(shop):
    made = shop.train("books", settings=BRIEF)
    assert list(made.reports) == ["books"]
    report = made.reports["books"]
    assert report.domain == "books"
    assert {"unknown", "cross-domain", "few"} <= set(report.situations) <= set(SITUATIONS)
    for situation, one in report.situations.items():
        assert one.users >= 1
        assert one.generators[one.best] == max(one.generators.values())
        models = ["popularity"] if situation == "unknown" else ["linear", "network", "stack"]
        assert list(one.models) == models
        assert one.ranker == (one.generators[one.best] if one.fallback else one.models[one.model])
        assert one.fallback == (one.high < 0)
        assert 0 <= one.calibration_error <= 1
        assert sum(part.candidates for part in one.reliability) >= one.users
        assert one.coverage["union"] >= max(one.coverage[source] for source in one.generators)
        assert set(one.generators) == set(FEW)
    assert made.interactions == INTERACTIONS
    assert made.feedback is not None
    assert {"candidate generators", "examples", "ranker"} <= set(made.stages)
    assert shop.current_release is None


def test_by_default_all_domains_are_targets(board):
    rankers = load_recommender(board.path / "training" / "recommender").rankers
    assert set(rankers) == {"films", "books"}


def test_rankers_are_pretrained_on_other_domains(shop):
    made = shop.train("books", pretrain=["films", "books"], settings=BRIEF)
    assert made.reports["books"].pretrained_on == ["films"]


def test_contents_are_centred_unless_it_is_switched_off(shop):
    for how, centred in (("whiten", True), ("centre", True), ("none", False)):
        shop.train("books", settings=replace(BRIEF, feature_normalization=how))
        made = load_recommender(shop.path / "training" / "recommender")
        assert made.statistics.projection.state()["means"].any() == centred
    shop.publish()
    assert len(shop.recommend(User(id="u3"), domain="books", k=5)) == 5


def test_without_interactions_it_says_what_to_do(tmp_path):
    space = Space.create(tmp_path / "bare", {"text": text_encoder()})
    space.upsert([item("a", "b")])
    with pytest.raises(InvalidInput, match="no interactions to learn from; add some with: isthmus"):
        space.train()


def test_interactions_of_unknown_items_are_not_trained_on(tmp_path):
    space = Space.create(tmp_path / "empty.space", {"text": text_encoder()})
    space.add_interactions(deeds(4))
    with pytest.raises(InvalidInput, match="no domain has 20 users"):
        space.train()


def test_unknown_domains_are_refused(shop):
    with pytest.raises(InvalidInput, match="no domain 'songs'; there are books, films"):
        shop.train("songs", settings=BRIEF)
    with pytest.raises(InvalidInput, match="no domain 'songs'; there are books, films"):
        shop.train("books", pretrain=["songs"], settings=BRIEF)


def test_too_few_users_are_refused(tmp_path):
    few = checkerboard(tmp_path / "few.space", users=19)
    with pytest.raises(
        InvalidInput, match="only 19 users liked something of 'books', and a ranker "
    ):
        few.train("books", settings=BRIEF)
    with pytest.raises(InvalidInput, match="no domain has 20 users who liked something of it"):
        few.train(settings=BRIEF)


@pytest.mark.parametrize("seed", range(3))
def test_twenty_users_are_enough(tmp_path, seed):
    few = checkerboard(tmp_path / "few.space", users=20)
    made = few.train(
        "books",
        settings=replace(BRIEF, seed=seed, examples=replace(BRIEF.examples, folds=1, seed=seed)),
    )
    for one in made.reports["books"].situations.values():
        assert one.users >= 1
        assert np.isfinite([one.ranker, one.low, one.high]).all()


def test_users_who_like_nothing_do_not_count(tmp_path):
    few = checkerboard(tmp_path / "few.space", users=19)
    few.add_interactions(
        [{"user_id": f"v{n}", "item_id": name("books", 0, 0), "value": 0.0} for n in range(9)]
    )
    with pytest.raises(InvalidInput, match="only 19 users liked something of 'books'"):
        few.train("books", settings=BRIEF)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cross_fitting_folds": 0}, "cross_fitting_folds is 0; give 1 or more"),
        ({"epochs": 0}, "epochs is 0; give 1 or more"),
        ({"coral_weight": -1.0}, "coral_weight is -1.0; give 0 or more"),
        ({"mmd_weight": -0.5}, "mmd_weight is -0.5; give 0 or more"),
        ({"adversarial_weight": float("nan")}, "adversarial_weight is nan; give 0 or more"),
        (
            {"exclude_generators": ["luck"]},
            "no candidate generator 'luck' to exclude; there are 'popularity', ",
        ),
        (
            {"feature_normalization": "bleach"},
            "feature_normalization is 'bleach'; give one of 'none', 'centre' or 'whiten'",
        ),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidInput) as refused:
        recommender_settings(TrainSettings(**options))
    assert message in str(refused.value)


def kept(space):
    """Return everything that was trained last as arrays."""
    made = load_recommender(space.path / "training" / "recommender")
    rankers = {
        f"{domain}.{key}": value
        for domain, ranker in made.rankers.items()
        for key, value in ranker.state().items()
    }
    return {**made.generators.state(), **made.statistics.state(), **rankers}


def test_an_interrupted_training_leaves_what_was_there(shop, monkeypatch):
    whole, expected = shop.train(settings=BRIEF), kept(shop)
    run = SituationTraining.run
    runs = []

    def interrupted(self):
        runs.append(self.situation)
        if len(runs) == 7:  # in the second ranker
            raise KeyboardInterrupt
        return run(self)

    with monkeypatch.context() as patch:
        patch.setattr(SituationTraining, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shop.train(settings=BRIEF)
    assert kept(shop).keys() == expected.keys()
    again = shop.train(settings=BRIEF)
    found = kept(shop)
    for key, value in expected.items():
        np.testing.assert_array_equal(value, found[key], err_msg=key)
    for domain, report in whole.reports.items():
        resumed = again.reports[domain].model_dump(exclude={"seconds", "stages"})
        assert resumed == report.model_dump(exclude={"seconds", "stages"})
    assert [path.name for path in (shop.path / "training").iterdir()] == ["recommender"]


class Broken(Popularity):
    name = "broken"

    def fit(self, data):
        raise ZeroDivisionError("no users")


class Endless(Popularity):
    name = "endless"

    def _count(self, data):
        return np.full(len(data), np.nan, np.float32)


def test_generators_that_fail_are_left_out_and_named(shop, monkeypatch):
    make = RecommenderSettings.make_generators
    monkeypatch.setattr(
        RecommenderSettings, "make_generators", lambda self, **_: [*make(self), Broken(), Endless()]
    )
    made = shop.train("books", settings=BRIEF)
    assert made.reports["books"].left_out == {
        "broken": "ZeroDivisionError: no users",
        "endless": "it has scores that are not finite",
    }
    assert set(made.reports["books"].situations["few"].generators) == set(FEW)
    shop.publish()
    hits = shop.recommend(User(clicks=["films-3-1"]), domain="books", k=4)
    assert [taste_of(hit.item_id) for hit in hits] == [3, 3, 3, 3]


class FailsInFolds(Popularity):
    """Can be fitted to nearly everything, and not to what a cross-fitting fold shows."""

    name = "fails in folds"

    def _count(self, data):
        if len(data.interactions) < 0.8 * INTERACTIONS:
            raise IndexError("too little is there")
        return super()._count(data)


class EndlessInFolds(FailsInFolds):
    name = "endless in folds"

    def _count(self, data):
        few = len(data.interactions) < 0.8 * INTERACTIONS
        return np.full(len(data), np.nan if few else 1, np.float32)


class ScorelessInFolds(EndlessInFolds):
    name = "scoreless in folds"

    def scorer(self, data, users, target):
        if len(data.interactions) < 0.8 * INTERACTIONS:
            raise KeyError("a user")
        return super().scorer(data, users, target)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (FailsInFolds, "it failed: IndexError: too little is there"),
        (EndlessInFolds, "it has scores that are not finite"),
        (ScorelessInFolds, "it failed: KeyError: 'a user'"),
    ],
)
def test_a_generator_that_fails_in_a_fold_is_left_out_and_named(shop, monkeypatch, broken, reason):
    make = RecommenderSettings.make_generators
    monkeypatch.setattr(
        RecommenderSettings, "make_generators", lambda self, **_: [*make(self), broken()]
    )
    two_folds = replace(BRIEF, examples=replace(BRIEF.examples, folds=2))
    made = shop.train(settings=two_folds)
    for report in made.reports.values():
        assert report.left_out == {broken.name: f"{reason} (in a cross-fitting fold)"}
        assert set(report.situations["few"].generators) == set(FEW)
    shop.publish()
    hits = shop.recommend(User(clicks=["films-3-1"]), domain="books", k=4)
    assert [taste_of(hit.item_id) for hit in hits] == [3, 3, 3, 3]


def test_without_any_generator_it_says_why(shop, monkeypatch):
    monkeypatch.setattr(RecommenderSettings, "make_generators", lambda _, **__: [Broken()])
    with pytest.raises(InvalidInput, match=r"no candidate generator .*broken: ZeroDiv"):
        shop.train("books", settings=BRIEF)


def one_item(space):
    """Let everybody like one book and nothing else there."""
    return [one | {"item_id": "books-0-0"} for one in deeds(40)[::8]] + films(40)


def films(users):
    return [one for one in deeds(users) if one["item_id"].startswith("films")]


def greedy(space):
    """Add a user who liked everything."""
    every = [
        name(domain, t, n) for domain in ("films", "books") for t in range(8) for n in range(6)
    ]
    return deeds(40) + [{"user_id": "greedy", "item_id": item_id} for item_id in every]


def severed(space):
    """Let nobody be in both domains."""
    return [one | {"user_id": one["item_id"][0] + one["user_id"]} for one in deeds(40)]


def one_day(space):
    """Let everything happen on one day."""
    return [one | {"time": datetime(2024, 5, 1, tzinfo=UTC)} for one in deeds(40)]


@pytest.mark.parametrize("odd", [one_item, greedy, severed, one_day])
def test_odd_interactions_are_trained_on_and_ranked_no_worse_than_popularity(tmp_path, odd):
    space = checkerboard(tmp_path / "odd.space", users=0)
    space.add_interactions(odd(space))
    report = space.train("books", settings=BRIEF).reports["books"]
    for one in report.situations.values():
        assert one.fallback or one.high >= 0
        assert one.ranker >= one.generators["popularity"] - 0.1
    space.publish()
    for user in (User(), User(clicks=["films-3-1", "films-3-2"]), User(clicks=["books-3-1"])):
        hits = space.recommend(user, domain="books", k=5)
        assert hits
        assert all(np.isfinite(hit.score) for hit in hits)


def test_cross_domain_users_are_simulated_where_nobody_is_shared(tmp_path):
    space = checkerboard(tmp_path / "two_shops.space", users=0)
    space.add_interactions(severed(space))
    wandering = [
        {"user_id": f"b{user}", "item_id": name("books", (user + turn) % 8, n)}
        for user in range(100)
        for turn in range(4)  # books of four tastes, so of both halves
        for n in range(2)
    ]
    space.add_interactions(wandering)
    report = space.train("books", settings=BRIEF).reports["books"]
    one = report.situations["cross-domain"]
    assert one.users >= 10
    assert one.generators["item-KNN"] < one.generators["popularity"]  # nobody tells it anything
    assert list(report.situations) == [name for name in SITUATIONS if name in report.situations]
    space.publish()
    hits = space.recommend(User(clicks=["films-3-1"]), domain="books", k=5)
    assert len(hits) == 5
