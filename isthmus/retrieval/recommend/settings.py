"""How a recommender is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.feature_projection import Normalisation
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.recommend.request import TrainSettings


@dataclass(frozen=True)
class RecommenderSettings:
    """How a recommender is trained.

    Attributes
    ----------
    examples : ExampleSettings
        How users are simulated.
    training : TrainingSettings
        How the head learns.
    leave_out : tuple of str
        Sources to do without.
    normalisation : str
        Of contents: ``"none"``, ``"centre"`` or ``"whiten"``, see `FeatureProjection`.
    adversarial, coral, mmd : float
        Weights of the terms that make domains alike, see `TwoTower`; 0 switches one off.
    pretrain : bool
        Whether a target's head first learns on the other domains as targets.
    guard : bool
        Whether domains whose histories are measured to harm a target are ignored there, see
        `measure_lifts`.
    trials : int
        How many settings of a head to try, see `tune_head`; 0 takes those of `training`.
    tower_epochs : int
        Passes of the two towers over the users, at most.
    seed : int
        Of the sources.

    Raises
    ------
    InvalidInput
        If there is no such source.
    """

    examples: ExampleSettings = field(default_factory=ExampleSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    leave_out: tuple[str, ...] = ()
    normalisation: Normalisation = "whiten"
    adversarial: float = 0.0
    coral: float = 0.0
    mmd: float = 0.0
    pretrain: bool = False
    guard: bool = True
    trials: int = 0
    tower_epochs: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        names = [source.name for source in default_generators()]
        for name in self.leave_out:
            if name not in names:
                there = ", ".join(map(repr, names))  # some have commas
                raise InvalidInput(f"no source {name!r} to leave out; there are {there}")

    def make_sources(self) -> list[CandidateGenerator]:
        """Give the sources, untaught."""
        sources = default_generators(self.seed)
        for source in sources:
            if isinstance(source, TwoTower):
                source.normalisation = self.normalisation
                source.adversarial, source.coral = self.adversarial, self.coral
                source.mmd = self.mmd
                source.epochs = self.tower_epochs
        return [source for source in sources if source.name not in self.leave_out]

    def make_facts(self) -> ItemFacts:
        """Give the facts, unlearned."""
        return ItemFacts(normalisation=self.normalisation, seed=self.seed)


def recommender_settings(settings: TrainSettings) -> RecommenderSettings:
    """Return the full settings of a training."""
    return RecommenderSettings(
        examples=ExampleSettings(folds=settings.cross_fitting_folds, seed=settings.seed),
        training=TrainingSettings(
            loss=settings.loss,
            epochs=settings.epochs,
            distil=settings.distilled_units,
            precision=settings.precision,
            distributed=settings.distributed,
            seed=settings.seed,
        ),
        leave_out=settings.exclude_generators or (),
        normalisation=settings.feature_normalization,
        adversarial=settings.adversarial_weight,
        coral=settings.coral_weight,
        mmd=settings.mmd_weight,
        guard=settings.check_source_domains,
        trials=settings.tuning_trials,
        seed=settings.seed,
    )
