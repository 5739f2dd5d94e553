"""Settings of the training of a recommender."""

from __future__ import annotations

from dataclasses import field

from isthmus.errors import InvalidInput
from isthmus.requests import validated_settings, values_of
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import attribute_generators, default_generators
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.ranker.settings import (
    ExampleSettings,
    RankerSettings,
    TrainingSettings,
)
from isthmus.retrieval.recommend.request import RecommenderOptions, TrainSettings


@validated_settings
class RecommenderSettings(RecommenderOptions):
    """How a recommender is trained, with the hyperparameters that `TrainSettings` leaves out.

    Attributes
    ----------
    examples : ExampleSettings
        How cold-start users are simulated.
    training : TrainingSettings
        How rankers are trained.
    pretrain : bool
        Whether the ranker of a target is first trained on the other domains as targets.
    tower_epochs : int
        Epochs of the two-tower model, at most.

    Raises
    ------
    InvalidInput
        If there is no such generator to exclude.
    """

    examples: ExampleSettings = field(default_factory=ExampleSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    pretrain: bool = False
    tower_epochs: int = 30

    def __post_init__(self) -> None:
        generators = [*default_generators(), *attribute_generators()]
        names = [*(generator.name for generator in generators), TwoTower.name]
        for name in self.exclude_generators or ():
            if name not in names:
                available = ", ".join(map(repr, names))  # some names have commas
                raise InvalidInput(
                    f"no candidate generator {name!r} to exclude; there are {available}"
                )

    def make_generators(self, *, attributes: bool = False) -> list[CandidateGenerator]:
        """Return the candidate generators, not fitted.

        Parameters
        ----------
        attributes : bool
            Whether attributes of users are known; else the generators that need them are left out.
        """
        generators = default_generators(self.seed)
        generators += attribute_generators(self.seed) if attributes else []
        adaptation = (self.adversarial_weight, self.coral_weight, self.mmd_weight)
        if self.two_tower or any(adaptation):
            generators.append(self._two_tower())
        excluded = self.exclude_generators or ()
        return [generator for generator in generators if generator.name not in excluded]

    def _two_tower(self) -> TwoTower:
        return TwoTower(
            epochs=self.tower_epochs,
            adversarial=self.adversarial_weight,
            coral=self.coral_weight,
            mmd=self.mmd_weight,
            normalisation=self.feature_normalization,
            seed=self.seed,
        )


def recommender_settings(settings: TrainSettings) -> RecommenderSettings:
    """Return the full settings of a training."""
    return RecommenderSettings(
        examples=ExampleSettings(folds=settings.cross_fitting_folds, seed=settings.seed),
        training=TrainingSettings(**values_of(settings, RankerSettings)),
        **values_of(settings, RecommenderOptions),
    )
