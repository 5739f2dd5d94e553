"""The recommending verbs of a space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from isthmus.index.view import View
from isthmus.progress import progress_bar
from isthmus.retrieval.open_space import Domains, OpenSpace, domain_names
from isthmus.retrieval.query import Ranked
from isthmus.retrieval.query_vectors import BlockQuery
from isthmus.retrieval.quotas import Quotas
from isthmus.retrieval.ranking import Group, Ranking, compose, group_domains
from isthmus.retrieval.recommend import recommend
from isthmus.retrieval.results import Hit, make_hits, make_lists
from isthmus.retrieval.users import User

USERS_A_BATCH = 256


class SpaceRecommendations(OpenSpace):
    """The recommending part of `isthmus.Space`."""

    def recommend(
        self,
        user: User,
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        attributes: bool = False,
    ) -> list[Hit]:
        """Recommend items of a domain to a user known in any domain.

        Parameters are those of `search`. The score is the share of the user's attention that an
        interest has over the item's rank in it, the best over the interests; with quotas, its
        rank in the domain. Items of the history are left out. A user of whom nothing is known
        gets typical, diverse items.
        """
        view = self._live.now()
        ranking = Ranking(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        texts = [self._user_text(user)]
        rows, scores = self._recommend(view, [user], texts, ranking, groups)[0]
        return make_hits(view, rows, scores.tolist(), attributes=attributes)

    def recommend_batch(
        self,
        users: Iterable[tuple[str, User]],
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        progress: bool = False,
    ) -> pa.Table:
        """Recommend to many users at once.

        Parameters
        ----------
        users : iterable of (str, User)
            User ids and users.
        k, domain, domains, where, diversity, candidates, quotas
            As in `recommend`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, rank and score.
        """
        view = self._live.now()
        ranking = Ranking(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        named, tables = list(users), []
        with progress_bar("recommending", len(named), show=progress) as advance:
            for start in range(0, len(named), USERS_A_BATCH):
                ids, part = zip(*named[start : start + USERS_A_BATCH], strict=True)
                texts = [self._user_text(user) for user in part]
                lists = self._recommend(view, part, texts, ranking, groups)
                tables.append(make_lists(view, ids, lists))
                advance(len(part))
        return pa.concat_tables(tables) if tables else make_lists(view, [], [])

    def _recommend(
        self,
        view: View,
        users: Sequence[User],
        texts: Sequence[BlockQuery | None],
        ranking: Ranking,
        groups: Sequence[Group],
    ) -> list[Ranked]:
        """Recommend to users from each group of domains, and make a list for each of them."""
        found = [
            recommend(view, users, texts, ranking.depth or 1, group.allowed, self._weights)
            for group in groups
        ]
        return [
            compose(view, lists, ranking, groups, relative=True)
            for lists in zip(*found, strict=True)
        ]

    def _user_text(self, user: User) -> BlockQuery | None:
        return self._encode({"text": user.text}) if user.text else None
