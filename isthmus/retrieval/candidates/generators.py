"""The sources of candidates, all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, with_prefix
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.content_smoothed_item_knn import ContentSmoothedItemKNN
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.scorer import Scorer
from isthmus.retrieval.candidates.tfidf_overlap import TfidfOverlap
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.two_tower import TwoTower
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.candidates.user_knn import UserKNN


def default_generators(seed: int = 0) -> list[CandidateGenerator]:
    """Give every source with its default settings."""
    return [
        Popularity(),
        Trend(),
        ItemKNN("item-KNN (cosine)", own=0.5, other=0.5, shrink=10.0),
        ItemKNN("item-KNN (popular)", own=0.5, other=0.1, shrink=5.0),
        ItemKNN("item-KNN (conditional)", own=1.0, other=0.0, shrink=100.0),
        ItemKNN("item-KNN (in-domain)", within=True),
        EASE(),
        UserKNN(),
        ALS(seed=seed),
        Content(),
        ContentSmoothedItemKNN(),
        TfidfOverlap(),
        TwoTower(seed=seed),
    ]


KINDS: dict[str, type[CandidateGenerator]] = {
    "popularity": Popularity,
    "trend": Trend,
    "item_knn": ItemKNN,
    "ease": EASE,
    "user_knn": UserKNN,
    "als": ALS,
    "content": Content,
    "content_smoothed_item_knn": ContentSmoothedItemKNN,
    "tfidf_overlap": TfidfOverlap,
    "two_tower": TwoTower,
}  # the names under which classes are stored; they outlive a renamed class


class CandidateGenerators:
    """Some sources that learn and are asked together.

    Parameters
    ----------
    sources : sequence of CandidateSource
        Which.

    Raises
    ------
    InvalidInput
        If there are none, or two have one name.
    """

    def __init__(self, sources: Sequence[CandidateGenerator]) -> None:
        self._by_name = {source.name: source for source in sources}
        if not sources or len(self._by_name) < len(sources):
            raise InvalidInput("a pool needs one source or more, each with a name of its own")

    def __iter__(self) -> Iterator[CandidateGenerator]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> CandidateGenerator:
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(self._by_name)

    def fit(self, corpus: TrainingData, *, show: bool = False) -> Self:
        """Teach every source."""
        with progress_bar("learning candidates", len(self._by_name), show=show) as advance:
            for source in self:
                source.fit(corpus)
                advance(1)
        return self

    def scorers(
        self, corpus: TrainingData, histories: UserHistories, target: int
    ) -> dict[str, Scorer]:
        """Ask every source about a domain's items for users."""
        return {source.name: source.scorer(corpus, histories, target) for source in self}

    def description(self) -> list[dict[str, Any]]:
        """Return the name, the class and the hyperparameters of every source, JSON-serialisable."""
        names = {kind: name for name, kind in KINDS.items()}
        return [
            {"name": source.name, "kind": names[type(source)], "settings": source.settings()}
            for source in self
        ]

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]]) -> Self:
        """Return untrained sources with the hyperparameters that a description states.

        Raises
        ------
        KeyError, TypeError
            If this version has no such class, or the class has no such hyperparameter.
        """
        return cls([KINDS[own["kind"]](**own["settings"]) for own in description])

    def state(self) -> ArrayState:
        """Return what all of them learned, keyed by the name of the source."""
        return {
            f"{source.name}/{key}": value
            for source in self
            for key, value in source.state().items()
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        for source in self:
            source.restore(with_prefix(state, f"{source.name}/"))
        return self


def without(sources: Sequence[CandidateGenerator], *names: str) -> list[CandidateGenerator]:
    """Leave some sources out, for an ablation."""
    return [source for source in sources if source.name not in names]
