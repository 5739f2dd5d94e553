"""The verb that finds items which are nearly the same."""

from __future__ import annotations

import pyarrow as pa

from isthmus.retrieval.search.near_duplicates import find_duplicates
from isthmus.verbs.open_space import Domains, OpenSpace, domain_names


class SpaceDuplicates(OpenSpace):
    """The part of `isthmus.Space` that compares its items with each other."""

    def duplicates(
        self,
        threshold: float = 0.95,
        *,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        vector_name: str | None = None,
        progress: bool = False,
    ) -> pa.Table:
        """Find the groups of items that are nearly the same, within and across domains.

        A group holds the items that are linked by pairs of at least the threshold, so every
        member is that near to at least one other, but perhaps not to all. Neighbours come from
        the index: exact where it is, else with its recall.

        Parameters
        ----------
        threshold : float, default 0.95
            Cosine similarity, to within 1e-6, from which two items are duplicates; in (0, 1].
        domain, domains, where
            Which items to compare with each other, as in `search`.
        vector_name : str, optional
            Block to compare in, such as ``image``; by default the one that most of these items
            have. Items without a vector in it are left out.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        pyarrow.Table
            One row a member: group (from 1, the largest first), item_id, domain, score (cosine
            with the representative), closest (with the nearest member) and representative (item
            id of the member nearest to the group's mean; its own row comes first).

        Raises
        ------
        InvalidInput
            If the threshold, a domain or the named vector is no good.
        InvalidFilter
            If `where` is refused.
        """
        view = self._live.now()
        allowed = view.select(domain_names(domain, domains), where)
        return find_duplicates(view, threshold, allowed, vector_name, show=progress)
