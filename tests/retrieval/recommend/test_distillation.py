"""A ranker distilled into a small one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from isthmus import Space, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.distillation import TEMPERATURE, divergence
from isthmus.retrieval.recommend.request import TrainSettings
from isthmus.retrieval.recommend.store import load_recommender
from tests.retrieval.recommend.worlds import BRIEF, checkerboard, taste_of
from tests.toy import text_encoder

LARGE = replace(BRIEF.training, members=2, hidden=32, epochs=8, patience=8, distilled_units=8)
SETTINGS = replace(BRIEF, training=LARGE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    space = checkerboard(tmp_path_factory.mktemp("distilled") / "shop.space", users=96)
    return space, space.train("books", settings=SETTINGS)


def test_the_distilled_ranker_is_stored(trained):
    space, made = trained
    shape = load_recommender(space.path / "training" / "recommender").rankers["books"].network.shape
    assert (shape.members, shape.hidden) == (1, 8)
    assert made.rankers["books"]["shape"]["hidden"] == 8
    assert (LARGE.members, LARGE.hidden) == (2, 32)


def test_the_report_compares_student_and_teacher(trained):
    found = trained[1].reports["books"].distillation
    assert found.student.parameters < found.teacher.parameters / 3
    assert found.size_ratio == found.teacher.parameters / found.student.parameters
    assert found.student.ndcg == pytest.approx(trained[1].reports["books"].scenarios["all"].ranker)
    assert found.low <= found.student.ndcg - found.teacher.ndcg <= found.high
    assert found.student.recall == found.teacher.recall  # all candidates fit into 200
    assert found.student.ndcg > 0.8 * found.teacher.ndcg
    assert found.users == trained[1].reports["books"].scenarios["all"].users
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


def test_the_divergence_is_that_of_the_softmaxes():
    generator = torch.Generator().manual_seed(0)
    taught, scores = (torch.randn(4, 7, generator=generator) for _ in range(2))
    mask = torch.rand(4, 7, generator=generator) > 0.3
    mask[:, 0] = True
    corrections = -torch.rand(4, 7, generator=generator)
    found = divergence(taught, scores, mask, corrections)
    for user in range(4):
        present = mask[user].numpy()
        weights = np.exp(-corrections[user].numpy()[present])

        def softmax(of, present=present, weights=weights, user=user):
            powers = weights * np.exp(of[user].numpy()[present] / TEMPERATURE)
            return powers / powers.sum()

        p, q = softmax(taught), softmax(scores)
        expected = TEMPERATURE**2 * (p * np.log(p / q)).sum()
        assert found[user].item() == pytest.approx(expected, rel=1e-4)
    assert divergence(taught, taught + 3, mask, corrections).abs().max() < 1e-5
