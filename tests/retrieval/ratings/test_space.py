"""Predicted ratings of a space: what counts as a rating, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus import EvaluationPlan, Space, User
from isthmus.errors import CorruptRelease, InvalidInput, ItemNotFound
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import BRIEF
from tests.toy import item, text_encoder

FILMS, USERS, GOOD = 24, 60, 12


def stars(film):
    """The first dozen films are good, the others bad."""
    return 4.5 if film < GOOD else 2.5


@pytest.fixture(scope="module")
def cinema(tmp_path_factory):
    """Everybody rates eight films, and looks, three times as heavily, at eight others."""
    space = Space.create(tmp_path_factory.mktemp("cinema") / "s", {"text": text_encoder()})
    space.upsert([item(f"f{n}", f"film{n}") for n in range(FILMS)])
    rng = np.random.default_rng(0)
    ratings, views = [], []
    for user in range(USERS):
        films = rng.permutation(FILMS)[:16].tolist()
        who = {"user_id": f"u{user}", "weight": 3.0}
        ratings += [
            {**who, "item_id": f"f{n}", "value": stars(n) + rng.choice([-0.5, 0.5])}
            for n in films[:8]
        ]
        views += [{**who, "item_id": f"f{n}"} for n in films[8:]]
    space.add_interactions(ratings, event="rating")
    space.add_interactions(views, event="view")
    space.train(settings=BRIEF, positive_from=1.0)
    space.publish()
    return space


def test_ratings_are_values_of_the_kind_of_event_that_has_any(cinema):
    """Views have the value 1 and weigh more, but nobody gave these films one star."""
    found = cinema.predict_ratings(User(), [f"f{n}" for n in range(FILMS)])
    np.testing.assert_allclose(found, [stars(n) for n in range(FILMS)], atol=0.5)


def test_views_are_not_ratings_of_a_user_either(cinema):
    before = cinema.predict_ratings(User(id="new"), ["f1", "f20"])
    views = [{"user_id": "new", "item_id": f"f{n}"} for n in range(8)]
    cinema.add_interactions(views, event="view")
    np.testing.assert_array_equal(cinema.predict_ratings(User(id="new"), ["f1", "f20"]), before)
    given = [{"user_id": "new", "item_id": f"f{n}", "value": 5.0} for n in (2, 3, 21)]
    cinema.add_interactions(given, event="rating")
    raised = cinema.predict_ratings(User(id="new"), ["f1", "f20"])
    assert (raised > before).all()
    with_ratings = User(ratings={row["item_id"]: row["value"] for row in given})
    np.testing.assert_allclose(
        cinema.predict_ratings(with_ratings, ["f1", "f20"]), raised, atol=1e-5
    )
    cinema.forget_user("new")


def test_an_evaluation_hides_ratings_alone(cinema):
    plan = EvaluationPlan(protocols=["rating"], baselines=["mean"], systems=["isthmus ratings"])
    task = cinema.evaluate(plan).tasks[0]
    assert task.train < USERS * 8
    rmse = {system.name: system.metrics["rmse"].value for system in task.systems}
    assert rmse["isthmus ratings"] < 0.8 < rmse["mean"]


def test_values_that_differ_by_the_kind_of_event_are_no_ratings(tmp_path):
    space = Space.create(tmp_path / "s", {"text": text_encoder()})
    space.upsert([item("a", "sea")])
    deeds = [{"user_id": f"u{n}", "item_id": "a", "value": 1.0} for n in range(9)]
    space.add_interactions(deeds, event="view")
    space.add_interactions([{**deed, "value": 5.0} for deed in deeds], event="buy")
    with pytest.raises(InvalidInput, match="differ by the kind of event alone; there is nothing"):
        space.evaluate(EvaluationPlan(protocols=["rating"]))


def test_an_unknown_item_is_refused(cinema):
    assert cinema.predict_ratings(User(), "f1").shape == (1,)
    assert cinema.predict_ratings(User(), []).shape == (0,)
    with pytest.raises(ItemNotFound, match="no item 'f99' in this space"):
        cinema.predict_ratings(User(), ["f1", "f99"])


def test_without_values_there_is_nothing_to_predict(board):
    with pytest.raises(InvalidInput, match="has no model of values; add interactions whose values"):
        board.predict_ratings(User(), "films-0-0")


@pytest.mark.parametrize("harm", ["cut off", "of another format"])
def test_the_remedy_of_a_damaged_model_is_said_once(cinema, tmp_path, harm):
    space = shutil.copytree(cinema.path, tmp_path / "s")
    folder = space / "releases" / "000001" / "recommender"
    described = json.loads((folder / "rating.json").read_text())
    content = json.dumps(described | {"format": 99})
    (folder / "rating.json").write_text(content if harm == "of another format" else content[:9])
    with pytest.raises(CorruptRelease, match=r"rating\.json") as refused:
        load_recommender(folder)
    remedy = f"train again with: isthmus train --space {space}, then: isthmus publish"
    assert str(refused.value).count("isthmus train") == 1
    assert str(refused.value).endswith(f"; {remedy} --space {space}")
