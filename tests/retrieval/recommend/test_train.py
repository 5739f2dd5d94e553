"""Training a space: refusals, reports, and resuming."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.retrieval.ranker import training
from isthmus.retrieval.recommend.request import TrainSettings
from isthmus.retrieval.recommend.settings import recommender_settings
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import BRIEF, FEW, checkerboard, name
from tests.retrieval.recommend.worlds import board as deeds
from tests.toy import item, text_encoder


@pytest.fixture
def shop(tmp_path):
    return checkerboard(tmp_path / "shop.space", users=64)


def test_the_report_describes_the_training(shop):
    made = shop.train("books", settings=BRIEF)
    assert list(made.reports) == ["books"]
    report = made.reports["books"]
    assert report.domain == "books"
    assert len(report.curve) == len(report.loss) + 1 == 4
    assert {"0", "all"} <= set(report.scenarios) <= {"0", "1", "3", "5", "most", "new", "all"}
    cases = [scenario for key, scenario in report.scenarios.items() if key != "all"]
    whole = report.scenarios["all"]
    assert whole.users == sum(scenario.users for scenario in cases)
    assert whole.ranker == pytest.approx(
        np.average([c.ranker for c in cases], weights=[c.users for c in cases])
    )
    assert whole.low <= whole.ranker - whole.generators[whole.best] <= whole.high
    for scenario in report.scenarios.values():
        assert scenario.generators[scenario.best] == max(scenario.generators.values())
        assert scenario.coverage["union"] >= max(
            scenario.coverage[source] for source in scenario.generators
        )
        assert set(scenario.generators) == set(FEW)
    assert made.interactions == 64 * 8
    assert made.feedback is not None
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
    whole = made.reports["books"].scenarios["all"]
    assert whole.users >= 1
    assert np.isfinite([whole.ranker, whole.low, whole.high]).all()


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
        ({"loss": "hinge"}, "loss is 'hinge'; give one of 'listwise' or 'pairwise'"),
        ({"precision": "fp8"}, "precision is 'fp8'; give one of 'fp32' or 'bf16'"),
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


def breaking(after):
    """Return a progress bar that raises after some steps of the rankers' bars together."""
    steps = []

    @contextmanager
    def bar(label, total, *, show):
        def advance(step):
            if label != "training the ranker":
                return
            steps.append(step)
            if len(steps) > after:
                raise KeyboardInterrupt

        yield advance

    return bar


def kept(space):
    """Return everything that was trained last as arrays."""
    made = load_recommender(space.path / "training" / "recommender")
    rankers = {
        f"{domain}.{key}": value
        for domain, ranker in made.rankers.items()
        for key, value in ranker.state().items()
    }
    return {**made.generators.state(), **made.statistics.state(), **rankers}


def test_an_interrupted_training_ends_the_same(shop, monkeypatch):
    whole, expected = shop.train(settings=BRIEF), kept(shop)
    for after in (2, 3):  # in the first ranker, and then in the second
        with monkeypatch.context() as patch:
            patch.setattr("isthmus.numerics.training.progress_bar", breaking(after))
            with pytest.raises(KeyboardInterrupt):
                shop.train(settings=BRIEF)
        assert kept(shop).keys() == expected.keys()  # what was trained before is still there
    passes = []
    plain = training._RankerTraining._epoch_batches

    def counting(self, number):
        passes.append(number)
        return plain(self, number)

    monkeypatch.setattr(training._RankerTraining, "_epoch_batches", counting)
    again = shop.train(settings=BRIEF)
    assert 0 < len(passes) < 6
    found = kept(shop)
    for key, value in expected.items():
        np.testing.assert_array_equal(value, found[key], err_msg=key)
    for domain, report in whole.reports.items():
        resumed = again.reports[domain].model_dump(exclude={"seconds"})
        assert resumed == report.model_dump(exclude={"seconds"})
    assert [path.name for path in (shop.path / "training").iterdir()] == ["recommender"]


@pytest.mark.parametrize("change", ["positive_from", "interactions", "settings"])
def test_another_training_does_not_resume_from_it(shop, monkeypatch, change):
    with monkeypatch.context() as patch:
        patch.setattr("isthmus.numerics.training.progress_bar", breaking(2))
        with pytest.raises(KeyboardInterrupt):
            shop.train("books", settings=BRIEF)
    options = {"settings": BRIEF}
    if change == "interactions":
        shop.add_interactions(deeds(65)[-8:])
    elif change == "settings":
        options["settings"] = replace(BRIEF, seed=1)
    else:
        options["positive_from"] = 0.5
    states = []
    read = Checkpoint.read

    def watching(self):
        states.append(read(self))
        return states[-1]

    monkeypatch.setattr(Checkpoint, "read", watching)
    shop.train("books", **options)
    assert states == [None]
