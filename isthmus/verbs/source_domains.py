"""The verb of a space that ranks domains as sources for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.verbs.open_space import OpenSpace

if TYPE_CHECKING:
    from isthmus.retrieval.source_domains.assessment import SourceReport


class SpaceSources(OpenSpace):
    """The part of `isthmus.Space` that says which domains help to recommend in another."""

    def sources(
        self,
        target: str,
        *,
        measure: bool = True,
        positive_from: float | None = None,
        seed: int = 0,
    ) -> SourceReport:
        """Rank the other domains as sources for a target domain.

        Each is described by its size, density and age, by the users that it shares with the
        target, by the distance between the contents of their items, which needs no user, and by
        what its histories are worth to simulated cold users of the target, see `measure_lifts`.
        Nothing is written; `train` measures the same and ignores, for this target, the histories
        of domains that hurt.

        Parameters
        ----------
        target : str
            The domain to recommend in.
        measure : bool, default True
            Whether to measure what each is worth, which takes most of the time.
        positive_from : float, optional
            Least value that counts as liked, as for `train`.
        seed : int, default 0
            Of all that is left to chance.

        Returns
        -------
        SourceReport
            The other domains, best first.

        Raises
        ------
        InvalidInput
            If there is no such domain, or there are no interactions.

        Examples
        --------
        Measured, best first: ``[s.domain for s in space.sources("books").sources]``.
        """
        from isthmus.retrieval.recommend.space_data import space_corpus
        from isthmus.retrieval.source_domains.assessment import assess_sources

        interactions, least = self._learnable(positive_from)
        corpus = space_corpus(self._live.now(), self._weights, interactions, positive_from=least)
        return assess_sources(corpus, target, measure=measure, seed=seed)
