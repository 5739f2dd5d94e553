"""Which candidate generators the settings of a training ask for."""

from __future__ import annotations

import pytest

from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.recommend.settings import RecommenderSettings

DEFAULTS = [generator.name for generator in default_generators()]


def test_the_two_tower_model_is_left_out_by_default():
    names = [generator.name for generator in RecommenderSettings().make_generators()]
    assert names == DEFAULTS
    assert TwoTower.name not in names


@pytest.mark.parametrize(
    "options", [{"two_tower": True}, {"coral_weight": 1.0}, {"adversarial_weight": 0.1}]
)
def test_it_is_used_by_name_or_by_a_term_of_its_loss(options):
    made = RecommenderSettings(**options, tower_epochs=3, seed=5).make_generators()
    assert [generator.name for generator in made] == [*DEFAULTS, TwoTower.name]
    tower = made[-1]
    assert isinstance(tower, TwoTower)
    assert (tower.epochs, tower.seed) == (3, 5)
    assert tower.coral == options.get("coral_weight", 0)
    assert tower.adversarial == options.get("adversarial_weight", 0)


def test_generators_are_left_out_by_name():
    settings = RecommenderSettings(two_tower=True, exclude_generators=("two-tower", "ALS"))
    names = [generator.name for generator in settings.make_generators()]
    assert names == [name for name in DEFAULTS if name != "ALS"]
