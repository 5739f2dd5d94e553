"""The recommending verbs of a space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import pyarrow as pa

from isthmus.data.interactions.ratings import positive_from_by_user
from isthmus.errors import InvalidInput
from isthmus.index.ann.gpu import choose_devices
from isthmus.index.releases.view import View
from isthmus.numerics.processes import forked
from isthmus.progress import progress_bar
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.explain import explain_hits
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.serving import Serving, recommend_learned
from isthmus.retrieval.recommend.store import published_recommender
from isthmus.retrieval.recommend.users import User, stored_histories
from isthmus.retrieval.search.query import ScoredRows
from isthmus.retrieval.search.query_encoding import QueryVectors
from isthmus.retrieval.search.ranking import (
    DomainGroup,
    Quotas,
    RankingOptions,
    compose,
    group_domains,
)
from isthmus.retrieval.search.results import Hit, make_hits, make_lists
from isthmus.verbs.open_space import Domains, OpenSpace, domain_names

USERS_A_BATCH = 128

Named = Sequence[tuple[str, User]]
Asked = tuple[list[User], list[QueryVectors | None]]


class SpaceRecommendations(OpenSpace):
    """The recommending part of `isthmus.Space`."""

    _served: tuple[View, int | None, Serving | None] | None = None

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
        explain: bool = False,
    ) -> list[Hit]:
        """Recommend items of a domain to a user known in any domain.

        With a trained recommender in the release (see `train`) candidates come from many sources
        and the ranker of the domain orders them; the score is the share of the user's next
        choices that the item is expected to have. The less is known of a user, the nearer the
        list is to what is popular. Without one, or for a domain that has no ranker, items are
        found by content: the score is the share of the user's attention that an interest has
        over the item's rank in it.

        Items of the history are left out. The stored interactions of ``user.id`` are read anew
        each time, so what happened a moment ago counts.

        Parameters
        ----------
        user : User
            Whom to recommend to.
        k : int, default 10
            Items.
        domain, domains, where, diversity, candidates, quotas, attributes
            As in `search`.
        explain : bool, default False
            Whether every hit says why it is there, see `Explanation`.

        Raises
        ------
        InvalidInput
            If an option makes no sense, or explanations are asked for without a trained ranker.
        """
        view = self._live.now()
        ranking = RankingOptions(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        (known,) = self._with_stored(view, [user])
        texts = [self._user_text(known)]
        rows, scores = self._recommend(view, [known], texts, ranking, groups)[0]
        hits = make_hits(view, rows, scores.tolist(), attributes=attributes)
        if explain:
            serving = self._serving(view)
            if serving is None:
                raise InvalidInput(
                    "explanations need a trained ranker: isthmus train, then isthmus publish"
                )
            depth = ranking.depth or 1
            hits = explain_hits(serving, known, texts[0], rows, hits, groups, depth)
        return hits

    def recommend_batch(
        self,
        users: Iterable[User | tuple[str, User]],
        *,
        k: int = 10,
        domain: Domains = None,
        domains: Domains = None,
        where: str | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
        quotas: Quotas | None = None,
        processes: int = 1,
        progress: bool = False,
    ) -> pa.Table:
        """Recommend to many users at once, to each as `recommend` does.

        Parameters
        ----------
        users : iterable of User or (str, User)
            Users, each under the name given beside, or by their ids.
        k, domain, domains, where, diversity, candidates, quotas
            As in `recommend`.
        processes : int, default 1
            How many processes answer, each with a core of its own. They are forked, on Linux, and
            share what is loaded; elsewhere, and where a GPU is in use, this one answers alone. A
            program whose other threads are at work meanwhile should not ask for more than one.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, rank and score.

        Raises
        ------
        InvalidInput
            If an option makes no sense, or a user has no name.
        """
        if processes < 1:
            raise InvalidInput(f"processes is {processes}; give 1 or more")
        if choose_devices(self._device):  # a card does not survive forking
            processes = 1
        view = self._live.now()
        ranking = RankingOptions(k, None, diversity, candidates, quotas or {})
        groups = group_domains(view, ranking, domain_names(domain, domains), where)
        named = [_named(user, at) for at, user in enumerate(users)]
        parts = [named[at : at + USERS_A_BATCH] for at in range(0, len(named), USERS_A_BATCH)]

        def asked(part: Named) -> Asked:
            known = self._with_stored(view, [user for _, user in part])
            return known, [self._user_text(user) for user in known]

        def answered(question: Asked) -> list[ScoredRows]:
            return self._recommend(view, *question, ranking, groups)

        with progress_bar("recommending", len(named), show=progress) as advance:
            tables = []
            # What the first part has loaded, the processes need not.
            first = map(answered, map(asked, parts[:1]))
            others = forked(answered, map(asked, parts[1:]), processes)
            for part, lists in zip(parts, chain(first, others), strict=True):
                tables.append(make_lists(view, [name for name, _ in part], lists))
                advance(len(part))
        return pa.concat_tables(tables) if tables else make_lists(view, [], [])

    def _recommend(
        self,
        view: View,
        users: Sequence[User],
        texts: Sequence[QueryVectors | None],
        ranking: RankingOptions,
        groups: Sequence[DomainGroup],
    ) -> list[ScoredRows]:
        """Recommend to users from each group of domains, and make a list for each of them."""
        serving, depth = self._serving(view), ranking.depth or 1
        found = [
            recommend(view, users, texts, depth, group.selection, self._weights)
            if serving is None
            else recommend_learned(serving, users, texts, depth, group, self._weights)
            for group in groups
        ]
        return [
            compose(view, lists, ranking, groups, relative=True)
            for lists in zip(*found, strict=True)
        ]

    def _serving(self, view: View) -> Serving | None:
        """Join the recommender of the view's release with the view; None where it has none."""
        known = self._served
        if known is None or known[0] is not view:
            number = None if view.release is None else view.release.number
            if known is not None and known[1] == number and known[2] is not None:
                recommender: Recommender | None = known[2].recommender
            else:
                recommender = published_recommender(view.release)
            joined = None
            if recommender is not None:
                before = known[2] if known is not None and known[1] == number else None
                joined = Serving.of(recommender, view, self._weights, before)
            known = self._served = view, number, joined
        return known[2]

    def _with_stored(self, view: View, users: Sequence[User]) -> list[User]:
        """Put the stored interactions of the users who have an id before their histories."""
        ids = [user.id for user in users if user.id is not None]
        if not ids:
            return list(users)
        stored = self._interactions.of_users(list(dict.fromkeys(ids)))
        serving = self._serving(view)
        if serving is None:  # each by himself, whoever else is asked for
            histories = stored_histories(stored, positive_from_by_user(stored))
        else:
            histories = stored_histories(stored, serving.recommender.positive_from)
        return [user.after(*histories[user.id]) if user.id in histories else user for user in users]

    def _user_text(self, user: User) -> QueryVectors | None:
        return self._encode({"text": user.text}) if user.text else None


def _named(given: User | tuple[str, User], at: int) -> tuple[str, User]:
    """Give a user's name beside the user."""
    if isinstance(given, User) and given.id is not None:
        return given.id, given
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], User):
        return given
    raise InvalidInput(
        f"users[{at}] is {given!r}; give User(id=...), or a pair of a name and a User"
    )
