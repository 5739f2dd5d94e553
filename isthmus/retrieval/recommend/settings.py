"""How a recommender is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.feature_projection import NORMALISATIONS, Normalisation
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.settings import LOSSES, PRECISIONS, ExampleSettings, TrainingSettings

Choice = TypeVar("Choice", bound=str)


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


def _one_of(what: str, given: str, there: Sequence[Choice]) -> Choice:
    if given not in there:
        raise InvalidInput(f"no {what} {given!r}; there are {', '.join(there)}")
    return there[there.index(given)]


def settings_from(
    *,
    loss: str,
    folds: int,
    epochs: int,
    leave_out: Sequence[str],
    adversarial: float,
    coral: float,
    precision: str,
    distributed: bool,
    seed: int,
    mmd: float = 0.0,
    normalisation: str = "whiten",
    guard: bool = True,
    trials: int = 0,
    distil: int = 0,
) -> RecommenderSettings:
    """Make settings of plain values, and refuse those that make no sense.

    Raises
    ------
    InvalidInput
        If a value is none that there is.
    """
    least_of = (("folds", folds, 1), ("epochs", epochs, 1), ("tune", trials, 0))
    for name, value, least in (*least_of, ("distil_head", distil, 0)):
        if value < least:
            raise InvalidInput(f"{name} is {value}; give {least} or more")
    for name, weight in (("adversarial", adversarial), ("coral", coral), ("mmd", mmd)):
        if not weight >= 0:
            raise InvalidInput(f"the weight {name} is {weight}; give zero or more")
    return RecommenderSettings(
        examples=ExampleSettings(folds=folds, seed=seed),
        training=TrainingSettings(
            loss=_one_of("loss", loss, LOSSES),
            epochs=epochs,
            distil=distil,
            precision=_one_of("precision", precision, PRECISIONS),
            distributed=distributed,
            seed=seed,
        ),
        leave_out=tuple(leave_out),
        normalisation=_one_of("normalisation", normalisation, NORMALISATIONS),
        adversarial=adversarial,
        coral=coral,
        mmd=mmd,
        guard=guard,
        trials=trials,
        seed=seed,
    )
