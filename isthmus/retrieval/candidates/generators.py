"""The candidate generators, and a set of them that is fitted, stored and queried together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy.typing as npt

from isthmus.errors import InvalidInput, IsthmusError
from isthmus.numerics.arrays import ArrayState, with_prefix
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.attribute_regression import AttributeRegression
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.content_smoothed_item_knn import ContentSmoothedItemKNN
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.factor_regression import FactorRegression
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.private_ease import PrivateEASE
from isthmus.retrieval.candidates.profile_regression import ProfileRegression
from isthmus.retrieval.candidates.scorer import Scorer
from isthmus.retrieval.candidates.segment_popularity import SegmentPopularity
from isthmus.retrieval.candidates.tfidf_overlap import TfidfOverlap
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.candidates.user_knn import UserKNN

# The names under which classes are stored. They stay when a class is renamed.
KINDS: dict[str, type[CandidateGenerator]] = {
    "popularity": Popularity,
    "trend": Trend,
    "item_knn": ItemKNN,
    "ease": EASE,
    "user_knn": UserKNN,
    "als": ALS,
    "factor_regression": FactorRegression,
    "profile_regression": ProfileRegression,
    "content": Content,
    "content_smoothed_item_knn": ContentSmoothedItemKNN,
    "tfidf_overlap": TfidfOverlap,
    "two_tower": TwoTower,
    "segment_popularity": SegmentPopularity,
    "attribute_regression": AttributeRegression,
    "private_ease": PrivateEASE,
}


def default_generators(seed: int = 0) -> list[CandidateGenerator]:
    """Return the candidate generators of a recommender, unfitted, with default hyperparameters.

    The two-tower model is not among them: it found nothing beyond chance that the others did not,
    for up to a third of the time of a training.
    """
    return [
        Popularity(),
        Trend(),
        ItemKNN(),
        ItemKNN("item-KNN (in-domain)", in_domain=True),
        EASE(),
        UserKNN(),
        ALS(seed=seed),
        FactorRegression(seed=seed),
        ProfileRegression(seed=seed),
        Content(),
        ContentSmoothedItemKNN(),
        TfidfOverlap(),
    ]


def attribute_generators(seed: int = 0) -> list[CandidateGenerator]:
    """Return the candidate generators that look at attributes of users, unfitted."""
    return [SegmentPopularity(), AttributeRegression(seed=seed)]


class GeneratorFailure(IsthmusError):
    """A candidate generator cannot be fitted, or has scores that cannot be used.

    Attributes
    ----------
    name : str
        The generator.
    reason : str
        What is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"candidate generator {name!r} cannot be used: {reason}")
        self.name, self.reason = name, reason

    @classmethod
    def of(cls, name: str, error: Exception) -> GeneratorFailure:
        """Return the failure of a generator that raised an error."""
        return cls(name, f"it failed: {type(error).__name__}: {error}")


class CandidateGenerators:
    """Some candidate generators that are fitted and queried together.

    Parameters
    ----------
    generators : sequence of CandidateGenerator
        Their names differ.

    Raises
    ------
    InvalidInput
        If there are none, or two have the same name.
    """

    def __init__(self, generators: Sequence[CandidateGenerator]) -> None:
        self._by_name = {generator.name: generator for generator in generators}
        if not generators or len(self._by_name) < len(generators):
            raise InvalidInput(
                "candidates need one generator or more, each with a name of its own; got "
                f"{', '.join(generator.name for generator in generators) or 'none'}"
            )

    def __iter__(self) -> Iterator[CandidateGenerator]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> CandidateGenerator:
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the generators."""
        return tuple(self._by_name)

    def fit(self, data: TrainingData, *, show: bool = False) -> Self:
        """Fit every generator, with a progress bar if `show`.

        Raises
        ------
        GeneratorFailure
            If one fails, whatever it raises.
        """
        with progress_bar("fitting candidate generators", len(self._by_name), show=show) as advance:
            for generator in self:
                try:
                    generator.fit(data)
                except Exception as error:
                    raise GeneratorFailure.of(generator.name, error) from error
                advance(1)
        return self

    def scorers(self, data: TrainingData, users: UserHistories, target: int) -> dict[str, Scorer]:
        """Return the scorer of every generator, see `CandidateGenerator.scorer`."""
        return {generator.name: generator.scorer(data, users, target) for generator in self}

    def description(self) -> list[dict[str, Any]]:
        """Return the name, class and hyperparameters of every generator, JSON-serialisable."""
        names = {kind: name for name, kind in KINDS.items()}
        return [
            {
                "name": generator.name,
                "kind": names[type(generator)],
                "settings": generator.settings(),
            }
            for generator in self
        ]

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]]) -> Self:
        """Return unfitted generators with the hyperparameters that a description states.

        Raises
        ------
        KeyError, TypeError
            If this version has no such class, or the class has no such hyperparameter.
        """
        return cls([KINDS[entry["kind"]](**entry["settings"]) for entry in description])

    def state(self) -> ArrayState:
        """Return what all generators learned, keyed by the name of the generator."""
        return {
            f"{generator.name}/{key}": value
            for generator in self
            for key, value in generator.state().items()
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        for generator in self:
            generator.restore(with_prefix(state, f"{generator.name}/"))
        return self


def without(generators: Sequence[CandidateGenerator], *names: str) -> list[CandidateGenerator]:
    """Return the generators but for some, for an ablation."""
    return [generator for generator in generators if generator.name not in names]
