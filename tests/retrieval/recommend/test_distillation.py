"""A ranker distilled into small networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.request import TrainSettings
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import BRIEF, checkerboard, taste_of
from tests.toy import text_encoder

LARGE = replace(BRIEF.training, models=("network",), hidden=64, epochs=8, distilled_units=8)
SETTINGS = replace(BRIEF, training=LARGE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    space = checkerboard(tmp_path_factory.mktemp("distilled") / "shop.space", users=96)
    return space, space.train("books", settings=SETTINGS)


def test_the_distilled_ranker_is_stored(trained):
    space, _ = trained
    ranker = load_recommender(space.path / "training" / "recommender").rankers["books"]
    for situation_model in ranker.models.values():
        network = situation_model.model
        assert network.name == "network"
        assert network.weights["last"].shape == (1, 3 * 8)  # of three groups of users


def test_the_report_compares_student_and_teacher(trained):
    report = trained[1].reports["books"]
    found = report.distillation
    assert found.student.parameters < found.teacher.parameters / 3
    assert found.size_ratio == found.teacher.parameters / found.student.parameters
    users = [part.users for part in report.situations.values()]
    assert found.users == sum(users)
    ndcg = sum(part.ranker * part.users for part in report.situations.values()) / sum(users)
    assert found.teacher.ndcg == pytest.approx(ndcg)
    assert found.low <= found.student.ndcg - found.teacher.ndcg <= found.high
    assert found.student.recall == found.teacher.recall  # all candidates fit into 200
    assert found.student.ndcg > 0.8 * found.teacher.ndcg
    assert min(found.student.milliseconds, found.teacher.milliseconds) > 0


def test_a_distilled_ranker_recommends_like_its_teacher(trained):
    space, _ = trained
    space.publish()
    again = Space.open(space.path, encoder=text_encoder())
    hits = again.recommend(User(clicks=["films-3-1", "films-3-2"]), domain="books", k=4)
    assert [taste_of(hit.item_id) for hit in hits] == [3, 3, 3, 3]


def test_without_the_option_nothing_is_distilled(tmp_path):
    space = checkerboard(tmp_path / "shop.space", users=64)
    assert space.train("books", settings=BRIEF).reports["books"].distillation is None


def test_bad_sizes_are_refused():
    with pytest.raises(InvalidInput, match="distilled_units is -1; give 0 or more"):
        TrainSettings(distilled_units=-1)
