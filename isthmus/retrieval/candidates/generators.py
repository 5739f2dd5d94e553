"""The sources of candidates, all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.als import Factors
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.content_smoothed_item_knn import Bridged
from isthmus.retrieval.candidates.ease import ItemRegression
from isthmus.retrieval.candidates.generator import CandidateSource, State, part_of
from isthmus.retrieval.candidates.item_knn import ItemNeighbours
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.scorer import Opinion
from isthmus.retrieval.candidates.tfidf_overlap import SharedWords
from isthmus.retrieval.candidates.training_data import Corpus
from isthmus.retrieval.candidates.two_tower import Towers
from isthmus.retrieval.candidates.user_histories import Histories
from isthmus.retrieval.candidates.user_knn import UserNeighbours


def default_sources(seed: int = 0) -> list[CandidateSource]:
    """Give every source with its default settings."""
    return [
        Popularity(),
        Trend(),
        ItemNeighbours("item neighbours, even", own=0.5, other=0.5, shrink=10.0),
        ItemNeighbours("item neighbours, popular", own=0.5, other=0.1, shrink=5.0),
        ItemNeighbours("item neighbours, conditional", own=1.0, other=0.0, shrink=100.0),
        ItemNeighbours("item neighbours, within the domain", within=True),
        ItemRegression(),
        UserNeighbours(),
        Factors(seed=seed),
        Content(),
        Bridged(),
        SharedWords(),
        Towers(seed=seed),
    ]


KINDS: dict[str, type[CandidateSource]] = {
    "popularity": Popularity,
    "trend": Trend,
    "item_knn": ItemNeighbours,
    "ease": ItemRegression,
    "user_knn": UserNeighbours,
    "als": Factors,
    "content": Content,
    "content_smoothed_item_knn": Bridged,
    "tfidf_overlap": SharedWords,
    "two_tower": Towers,
}  # the names under which classes are stored; they outlive a renamed class


class Sources:
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

    def __init__(self, sources: Sequence[CandidateSource]) -> None:
        self._by_name = {source.name: source for source in sources}
        if not sources or len(self._by_name) < len(sources):
            raise InvalidInput("a pool needs one source or more, each with a name of its own")

    def __iter__(self) -> Iterator[CandidateSource]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> CandidateSource:
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(self._by_name)

    def fit(self, corpus: Corpus, *, show: bool = False) -> Self:
        """Teach every source."""
        with progress_bar("learning candidates", len(self._by_name), show=show) as advance:
            for source in self:
                source.fit(corpus)
                advance(1)
        return self

    def opinions(self, corpus: Corpus, histories: Histories, target: int) -> dict[str, Opinion]:
        """Ask every source about a domain's items for users."""
        return {source.name: source.opinion(corpus, histories, target) for source in self}

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

    def state(self) -> State:
        """Return what all of them learned, keyed by the name of the source."""
        return {
            f"{source.name}/{key}": value
            for source in self
            for key, value in source.state().items()
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        for source in self:
            source.restore(part_of(state, f"{source.name}/"))
        return self


def without(sources: Sequence[CandidateSource], *names: str) -> list[CandidateSource]:
    """Leave some sources out, for an ablation."""
    return [source for source in sources if source.name not in names]
