"""The part of `isthmus.Space` that draws it."""

from __future__ import annotations

from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.retrieval.search.space_map import SpaceMap, map_space
from isthmus.verbs.open_space import Domains, OpenSpace, domain_names


class SpaceMaps(OpenSpace):
    """A picture of what a space holds."""

    def map(
        self,
        *,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        vector_name: str | None = None,
        limit: int = 5_000,
        seed: int = 0,
    ) -> SpaceMap:
        """Lay the contents of items out on a plane, near what they are like.

        Each text, picture and audio of an item is a point of its own; nothing is encoded. In a
        named vector in which modalities meet, texts and pictures of one thing should lie together.

        Parameters
        ----------
        domain, domains, where
            Which items to draw, as in `search`.
        vector_name : str, optional
            Block whose vectors to lay out, such as ``text``; by default the one in which most
            modalities meet.
        limit : int, default 5_000
            Most items; of more, so many are drawn at random. Time grows with its square.
        seed : int, default 0
            Of whatever is left to chance: the same space and seed give the same map.

        Returns
        -------
        SpaceMap
            Points and what they are; `SpaceMap.save` draws them.

        Raises
        ------
        InvalidInput
            If a domain, the named vector or the limit is no good, or there is nothing to draw.
        InvalidFilter
            If `where` is refused.
        MissingDependency
            If umap-learn is not installed (extra ``map``).
        """
        view = self._live.now()
        allowed = view.select(domain_names(domain, domains), where)
        contents = ContentVectors(self.path, self.settings)
        return map_space(view, contents, allowed, vector_name, limit, seed)
