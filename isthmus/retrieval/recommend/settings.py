"""Settings of the training of a recommender."""

from __future__ import annotations

from dataclasses import dataclass, field

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.feature_projection import Normalisation
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.recommend.request import TrainSettings


@dataclass(frozen=True)
class RecommenderSettings:
    """How a recommender is trained.

    Attributes
    ----------
    examples : ExampleSettings
        How cold-start users are simulated.
    training : TrainingSettings
        How rankers are trained.
    exclude_generators : tuple of str
        Candidate generators that are not used.
    feature_normalization : str
        Normalisation of item features: ``"none"``, ``"centre"`` or ``"whiten"``, see
        `FeatureProjection`.
    adversarial_weight, coral_weight, mmd_weight : float
        Weights of the domain adaptation terms of the two-tower model, see `TwoTower`; 0 switches
        one off.
    pretrain : bool
        Whether the ranker of a target is first trained on the other domains as targets.
    check_source_domains : bool
        Whether to measure the lift by the histories of the other domains, and to ignore for a
        target those that hurt, see `measure_lifts`.
    tuning_trials : int
        Number of hyperparameter settings to try for each ranker, see `tune_ranker`; with 0 those
        of `training` are used.
    tower_epochs : int
        Epochs of the two-tower model, at most.
    seed : int
        Seed of the candidate generators.

    Raises
    ------
    InvalidInput
        If there is no such generator to exclude.
    """

    examples: ExampleSettings = field(default_factory=ExampleSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    exclude_generators: tuple[str, ...] = ()
    feature_normalization: Normalisation = "whiten"
    adversarial_weight: float = 0.0
    coral_weight: float = 0.0
    mmd_weight: float = 0.0
    pretrain: bool = False
    check_source_domains: bool = True
    tuning_trials: int = 0
    tower_epochs: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        names = [generator.name for generator in default_generators()]
        for name in self.exclude_generators:
            if name not in names:
                available = ", ".join(map(repr, names))  # some names have commas
                raise InvalidInput(
                    f"no candidate generator {name!r} to exclude; there are {available}"
                )

    def make_generators(self) -> list[CandidateGenerator]:
        """Return the candidate generators, not fitted."""
        generators = default_generators(self.seed)
        for generator in generators:
            if isinstance(generator, TwoTower):
                generator.normalisation = self.feature_normalization
                generator.adversarial, generator.coral = self.adversarial_weight, self.coral_weight
                generator.mmd = self.mmd_weight
                generator.epochs = self.tower_epochs
        return [
            generator for generator in generators if generator.name not in self.exclude_generators
        ]

    def make_statistics(self) -> ItemStatistics:
        """Return the item statistics, not fitted."""
        return ItemStatistics(normalisation=self.feature_normalization, seed=self.seed)


def recommender_settings(settings: TrainSettings) -> RecommenderSettings:
    """Return the full settings of a training."""
    return RecommenderSettings(
        examples=ExampleSettings(folds=settings.cross_fitting_folds, seed=settings.seed),
        training=TrainingSettings(
            epochs=settings.epochs,
            distilled_units=settings.distilled_units,
            seed=settings.seed,
        ),
        exclude_generators=settings.exclude_generators or (),
        feature_normalization=settings.feature_normalization,
        adversarial_weight=settings.adversarial_weight,
        coral_weight=settings.coral_weight,
        mmd_weight=settings.mmd_weight,
        check_source_domains=settings.check_source_domains,
        tuning_trials=settings.tuning_trials,
        seed=settings.seed,
    )
