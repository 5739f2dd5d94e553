"""Recommending in a space: the trained recommender of its release, or content alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ratings import latest_ratings, value_by_item
from isthmus.errors import InvalidInput, ItemNotFound, command_in
from isthmus.forking import renew_lock
from isthmus.index.ann.gpu import choose_devices
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.numerics.micro_batches import MicroBatcher
from isthmus.numerics.processes import forked
from isthmus.progress import progress_bar
from isthmus.retrieval.ratings.ratings import History
from isthmus.retrieval.recommend.anonymity import Anonymity
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.dislikes import move_away
from isthmus.retrieval.recommend.experiments import in_arm
from isthmus.retrieval.recommend.explain import explain_hits
from isthmus.retrieval.recommend.exploration import (
    CountedItems,
    Explored,
    ItemCounts,
    certain,
    explore,
    places_of,
    seed_of,
)
from isthmus.retrieval.recommend.history_notes import (
    count_unknown,
    history_notes,
    unknown_user,
    unknown_users,
)
from isthmus.retrieval.recommend.item_users import (
    LIKELY_A_PLACE,
    MIN_LIKELY,
    RELATED,
    RelatedItems,
    histories_of,
    likely_users,
    related_by_rank,
    related_items,
    score_users,
)
from isthmus.retrieval.recommend.recommendation_log import RecommendationLog, logged_row
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.request import (
    PredictRatingsRequest,
    RecommendBatchRequest,
    RecommendFileRequest,
    RecommendRequest,
    RecommendRowsRequest,
    RecommendUsersRequest,
    UserListOptions,
)
from isthmus.retrieval.recommend.rows import Catalogue, RowMaker, Rows
from isthmus.retrieval.recommend.serving import Serving, recommend_learned
from isthmus.retrieval.recommend.shown import shown_items
from isthmus.retrieval.recommend.store import published_contents, published_recommender
from isthmus.retrieval.recommend.users import (
    Interaction,
    User,
    recommend_file,
    stored_histories,
)
from isthmus.retrieval.search.notes import filter_notes, warn_of
from isthmus.retrieval.search.paging import MakeLists, Pager, lists_in_windows, windows
from isthmus.retrieval.search.query import NO_ROWS, ScoredRows
from isthmus.retrieval.search.query_encoding import QueryVectors
from isthmus.retrieval.search.ranking import (
    DomainGroup,
    compose,
    compose_ruled,
    group_domains,
)
from isthmus.retrieval.search.results import Hit, Hits, make_hits, make_lists
from isthmus.retrieval.search.rule_request import to_seconds
from isthmus.retrieval.search.rules import MAX_CANDIDATES, Rules
from isthmus.retrieval.search.scenarios import Scenarios
from isthmus.retrieval.search.searcher import encode_contents
from isthmus.schema import EVENT, ITEM_ID, RANK, RECOMMENDATION_ID, SCORE, TIME, USER_ID

USERS_A_BATCH = 128
USERS_TOGETHER = 16  # users of concurrent requests who are ranked for together, at most
FIRST_PLACES = 20  # places of the first window of a list
MAX_FORMER = 2  # recommenders of other releases that are kept

NamedUsers = Sequence[tuple[str, User]]


class UserQueries(NamedTuple):
    """For whom is recommended: users, the vectors of their texts, and the rules of their lists."""

    users: list[User]
    texts: list[QueryVectors | None]
    rules: list[Rules] | None
    release: int | None = None


class RankQuery(NamedTuple):
    """One user that items of a group of domains are ranked for, see `recommend_learned`."""

    serving: Serving
    user: User
    text: QueryVectors | None
    depth: int
    group: DomainGroup
    weights: Mapping[str, float]

    @property
    def key(self) -> Hashable:
        """What is the same for users who can be ranked for together."""
        selection = id(self.group.selection)  # those of a view are cached
        return id(self.serving), tuple(self.group.domains), selection, self.depth


def rank_together(queries: Sequence[RankQuery]) -> list[ScoredRows]:
    """Rank for the users of some queries with one key."""
    first = queries[0]
    users, texts = [query.user for query in queries], [query.text for query in queries]
    return recommend_learned(first.serving, users, texts, first.depth, first.group, first.weights)


class SpaceRecommender:
    """Answers recommendation requests on an open space, and keeps the loaded recommender.

    Parameters
    ----------
    space : OpenSpace
        The space to recommend from.
    """

    def __init__(self, space: OpenSpace) -> None:
        self._space = space
        self._scenarios = Scenarios(space.path)
        self._served: tuple[View, Release | None, Serving | None] | None = None
        self._lock = threading.Lock()
        renew_lock(self)
        self._former: dict[int, tuple[View, Serving]] = {}
        self._together: MicroBatcher[RankQuery, ScoredRows] = MicroBatcher(
            rank_together, USERS_TOGETHER
        )
        self._new_items = CountedItems(space.interactions)
        self._anonymity = Anonymity(space.interactions, space.settings.privacy.min_users)
        self._recommendation_log: RecommendationLog | None = None

    def recommend(self, request: RecommendRequest) -> Hits:
        """Recommend items to one user, see `Space.recommend`."""
        view = self._space.view()
        request, assigned = in_arm(request)
        given, request = request, self._scenarios.resolve(request)
        groups = group_domains(view, request)
        events = self._stored_events([request.user])
        (user,) = self._with_stored(view, [request.user], events)
        timed = request.exclude_shown_for is not None or request.explore > 0
        pager = Pager(view, request, (user.history, user.text), timed=timed)
        rules = self._rules(view, [user], request, groups, events, pager.moment)
        queries = UserQueries([user], [self._encode_text(user)], rules, assigned.release)

        def make_lists(n: int, before: Sequence[ScoredRows]) -> list[ScoredRows]:
            return self._recommend(view, queries, request, groups, n, before)

        if request.explore and rules is not None:
            drawn = self._explored(view, request, user, rules[0], groups, make_lists, pager.moment)
            lists = [(drawn.rows, drawn.scores)]
            offset, (rows, scores) = pager.page(
                lambda n, _: [(rows[:n], scores[:n]) for rows, scores in lists], whole=True
            )
            drawn = drawn.page(offset, len(rows))
        else:
            offset, (rows, scores) = pager.page(make_lists, FIRST_PLACES)
            drawn = certain((rows, scores))
        hits = make_hits(view, rows, scores.tolist(), attributes=request.attributes, offset=offset)
        if request.explain:
            self._explain(view, request, queries, groups, rows, hits, offset, drawn)
        notes = [*filter_notes(view, request, groups), *history_notes(view, request.user, user)]
        if rules is not None:
            hits = drawn.marked(rules[0].marked(rows, hits))
            notes = [*rules[0].notes, *notes]
        answer = pager.hits(hits, offset, warn_of(notes))
        answer.arm = assigned.arm
        if request.log:
            row = logged_row(given, answer, offset, drawn, assigned)
            answer.recommendation_id = row[RECOMMENDATION_ID]
            self.log.put(row)
        return answer

    def recommend_rows(self, request: RecommendRowsRequest) -> Rows:
        """Recommend rows of items to one user, see `Space.recommend_rows`."""
        view = self._space.view()
        request = self._scenarios.resolve(request)
        groups = group_domains(view, request)
        events = self._stored_events([request.user])
        (user,) = self._with_stored(view, [request.user], events)
        moment = time.time()
        pinned = request

        def list_of(who: User, n: int, among: Mask | None) -> ScoredRows:
            nonlocal pinned
            within = groups if among is None else [_among(view, group, among) for group in groups]
            rules = self._rules(view, [who], pinned, within, events, moment)
            queries = UserQueries([who], [self._encode_text(who)], rules)

            def make_lists(n: int, before: Sequence[ScoredRows]) -> list[ScoredRows]:
                return self._recommend(view, queries, pinned, within, n, before)

            found = lists_in_windows(n, make_lists, FIRST_PLACES)[0]
            pinned = pinned.model_copy(update={"pin": ()})  # they come first once
            return found

        maker = RowMaker(view, request, user, list_of, self._catalogue(view, groups, request))
        notes = [*filter_notes(view, request, groups), *history_notes(view, request.user, user)]
        return Rows(maker.rows(), warn_of(notes), view.release_number)

    def _catalogue(
        self, view: View, groups: Sequence[DomainGroup], options: UserListOptions
    ) -> Catalogue:
        """Return what may be recommended, what of it is new, and how popular it is."""
        allowed = _allowed(view, groups)
        banned = view.find(list(options.ban))
        allowed[banned[banned >= 0]] = False
        serving = self.serving(view)
        popularity = np.zeros(len(allowed), np.float32)
        if serving is None:
            counts = ItemCounts.of(self._space.interactions.table(ITEM_ID, EVENT)).clicks
            rows, values = view.find(list(counts)), np.array(list(counts.values()), np.float32)
            values[~self._popularity_shown(list(counts))] = 0
            popularity[rows[rows >= 0]] = values[rows >= 0]
            new = np.arange(len(allowed)) >= view.release_rows
            return Catalogue(allowed, new & (view.release is not None), popularity)
        learned = np.arange(len(serving.recommender.item_ids))
        rows = serving.features.rows[: len(learned)]
        used = serving.recommender.statistics.popularity(learned)
        used = used * self._popularity_shown(serving.recommender.item_ids.tolist())
        popularity[rows[rows >= 0]] = used[rows >= 0]
        new = view.living.rows.copy()
        new[rows[rows >= 0]] = False
        return Catalogue(allowed, new, popularity)

    def _popularity_shown(self, item_ids: Sequence[str]) -> Mask:
        """Return which items enough users stand behind, shape (n_items,)."""
        if not self._anonymity.demanded:
            return np.ones(len(item_ids), bool)
        return self._anonymity.is_shown(self._anonymity.users_of(item_ids))

    def recommend_users(self, request: RecommendUsersRequest) -> list[dict[str, Any]]:
        """Return the users to tell about an item, see `Space.recommend_users`."""
        view, item_id = self._space.view(), request.item_id
        if view.find([item_id])[0] < 0:
            raise ItemNotFound(f"no item {item_id!r} in this space")
        serving = self.serving(view)
        related, ids = self._related(view, serving, item_id)
        store = self._space.interactions
        likely = likely_users(
            store.of_items(ids), dict(zip(ids, related.mean_weights.tolist(), strict=True))
        )
        names = likely[: max(MIN_LIKELY, LIKELY_A_PLACE * request.k)]
        events = store.of_users(names)
        histories = stored_histories(events, None if serving is None else serving.feedback)
        place = {name: at for at, name in enumerate(ids)}
        likes = {
            user: history
            for user, (entries, _) in histories.items()
            if all(entry.item_id != item_id for entry in entries)
            and (history := _liked_at(entries, place))
        }
        numbered = RelatedItems(np.arange(len(ids)), related.weights)
        scores = score_users(histories_of(likes), numbered)
        named = list(likes)
        order = sorted(range(len(named)), key=lambda at: (-float(scores[at]), named[at]))
        return [
            {USER_ID: named[at], RANK: rank, SCORE: float(scores[at])}
            for rank, at in enumerate(order[: request.k], 1)
        ]

    def _related(
        self, view: View, serving: Serving | None, item_id: str
    ) -> tuple[RelatedItems, list[str]]:
        """Return the items that go with an item, by learned generators or by content, and ids."""
        column = -1 if serving is None else int(serving.columns_of([item_id])[0])
        if serving is None or column < 0:
            selected, weights = view.select(list(view.domains)), self._space.vector_weights
            rows = recommend(view, [User([item_id])], [None], RELATED, selected, weights)[0][0]
            related = related_by_rank(rows)
            return related, view.item_ids(related.columns).tolist()
        there = serving.features.rows >= 0
        related = related_items(serving.recommender.generators, serving.data, column, there)
        return related, serving.data.item_ids[related.columns].tolist()

    def _explain(
        self,
        view: View,
        request: RecommendRequest,
        queries: UserQueries,
        groups: Sequence[DomainGroup],
        rows: Positions,
        hits: list[Hit],
        offset: int,
        drawn: Explored,
    ) -> None:
        """Explain hits in place; pinned and explored ones, which no ranker chose, have none."""
        serving = self.serving(view, queries.release)
        if serving is None:
            raise InvalidInput(f"explanations need a trained ranker: {self._training_commands()}")
        *_, window = windows(offset + len(hits), FIRST_PLACES)
        depth, ranked = request.depth(window), ~drawn.explored
        if queries.rules is not None:
            depth = queries.rules[0].first_depth(depth)
            ranked &= ~queries.rules[0].is_pinned(rows)
        at = np.flatnonzero(ranked)
        explained = [hits[place] for place in at.tolist()]
        user, text = queries.users[0], queries.texts[0]
        reasons = explain_hits(serving, user, text, rows[at], explained, groups, depth)
        reasons = self._anonymity.shown(reasons)
        for place, hit in zip(at.tolist(), reasons, strict=True):
            hits[place] = hit

    def _explored(
        self,
        view: View,
        request: RecommendRequest,
        user: User,
        rules: Rules,
        groups: Sequence[DomainGroup],
        make_lists: MakeLists,
        moment: float,
    ) -> Explored:
        """Return the whole list of a user, with explored places."""
        allowed = _allowed(view, groups)
        places = places_of(int(allowed.sum()))
        found = lists_in_windows(places, make_lists, FIRST_PLACES)[0]
        allowed[rules.removed] = False
        who = user.id or (user.history, user.text)
        return explore(
            found,
            self._new_items.of(view),
            allowed,
            request.explore,
            seed_of(who, moment),
            min(len(rules.pinned), len(found[0])),
        )

    @property
    def log(self) -> RecommendationLog:
        """The log of recommendations."""
        if self._recommendation_log is None:
            space = self._space
            days = space.settings.log.keep_days
            self._recommendation_log = RecommendationLog(space.path, days, wait_s=space.wait_s)
        return self._recommendation_log

    def replay(self, user_id: str, moment: datetime, arguments: Mapping[str, Any]) -> Hits:
        """Recommend to a user by what was stored of the user before a moment.

        Parameters
        ----------
        user_id : str
            The user.
        moment : datetime
            Events of this time and later do not count, nor those without a time.
        arguments : mapping of str to value
            What else is asked for, as `RecommendRequest` names it.
        """
        view = self._space.view()
        who = User(id=user_id)
        events = self._stored_events([who])
        if events is not None:
            times = events.column(TIME)
            before = pc.less(times, pa.scalar(moment, times.type))
            events = events.filter(pc.fill_null(before, False))
        (user,) = self._with_stored(view, [who], events)
        user.id = None  # so that nothing later joins
        return self.recommend(RecommendRequest(user=user, **arguments))

    def recommend_batch(
        self, request: RecommendBatchRequest, *, progress: bool = False
    ) -> pa.Table:
        """Recommend items to many users, see `Space.recommend_batch`."""
        return self._recommend_batch(request, progress=progress)[0]

    def _recommend_batch(
        self, request: RecommendBatchRequest, *, progress: bool
    ) -> tuple[pa.Table, int]:
        """Return the lists of users, and how many of the users are unknown."""
        # A CUDA context does not survive forking.
        processes = 1 if choose_devices(self._space.device) else request.processes
        view = self._space.view()
        request = self._scenarios.resolve(request)
        groups = group_domains(view, request)
        if isinstance(request.users, str | bytes) or not isinstance(request.users, Iterable):
            raise InvalidInput(f"users is {request.users!r}; give a list of users with an id")
        users = [_named(user, at) for at, user in enumerate(request.users)]
        batches = [users[at : at + USERS_A_BATCH] for at in range(0, len(users), USERS_A_BATCH)]

        unknown = 0

        def prepare(batch: NamedUsers) -> UserQueries:
            nonlocal unknown
            requested = [user for _, user in batch]
            events = self._stored_events(requested)
            known = self._with_stored(view, requested, events)
            unknown += count_unknown(view, requested, known)
            rules = self._rules(view, known, request, groups, events, time.time())
            return UserQueries(known, [self._encode_text(user) for user in known], rules)

        def answer(queries: UserQueries) -> list[ScoredRows]:
            def make_lists(n: int, before: Sequence[ScoredRows]) -> list[ScoredRows]:
                return self._recommend(view, queries, request, groups, n, before)

            return lists_in_windows(request.k or 1, make_lists, FIRST_PLACES)

        with progress_bar("recommending", len(users), show=progress) as advance:
            tables = []
            # The first batch is answered here: what it loads, the forked processes share.
            first = map(answer, map(prepare, batches[:1]))
            others = forked(answer, map(prepare, batches[1:]), processes)
            for batch, lists in zip(batches, chain(first, others), strict=True):
                tables.append(make_lists(view, [name for name, _ in batch], lists))
                advance(len(batch))
        notes = filter_notes(view, request, groups)
        if unknown:
            notes.append(unknown_users(unknown, len(users)))
        warn_of(notes)
        return pa.concat_tables(tables) if tables else make_lists(view, [], []), unknown

    def recommend_file(
        self, request: RecommendFileRequest, *, progress: bool = False
    ) -> dict[str, int]:
        """Recommend items to every user of a file, see `Space.recommend_file`."""
        options = request.model_dump(exclude={"users", "out"})

        def answer(users: NamedUsers) -> tuple[pa.Table, int]:
            batch = RecommendBatchRequest(users=users, **options)
            return self._recommend_batch(batch, progress=progress)

        return recommend_file(answer, request.users, request.out)

    def predict_ratings(self, request: PredictRatingsRequest) -> FloatArray:
        """Predict the ratings that a user would give items, see `Space.predict_ratings`."""
        serving = self.serving(self._space.view())
        if serving is None or serving.rating is None:
            raise InvalidInput(
                f"{self._space.path} has no model of values; add interactions whose values differ "
                f"with: {command_in(self._space.path, 'interactions add FILES --value COLUMN')}, "
                f"then: {self._training_commands()}"
            )
        names = list(request.item_ids)
        columns = serving.columns_of(names)
        if len(columns) and columns.min() < 0:
            raise ItemNotFound(
                f"no item {names[int(np.argmin(columns))]!r} in this space, or its domain is newer "
                f"than the training: {self._training_commands()}"
            )
        history = self._ratings_of(request.user, serving)
        if request.user.id is not None and not len(history.columns):
            warn_of([unknown_user(request.user.id)])
        return serving.rating.predict([history], [columns])[0]

    def _serving_of(self, view: View, release: int) -> Serving:
        """Join the recommender of another release with a view.

        Raises
        ------
        InvalidInput
            If there is no such release, or it has no recommender.
        """
        known = self._former.get(release)
        if known is None or known[0] is not view:
            recommender = published_recommender(Releases(self._space.path).open(release))
            if recommender is None:
                raise InvalidInput(
                    f"release {release} has no recommender, so no arm can be ranked by it; "
                    "choose another release"
                )
            weights = self._space.vector_weights
            before = None if known is None else known[1]
            while len(self._former) >= MAX_FORMER:
                del self._former[next(iter(self._former))]
            known = self._former[release] = view, Serving.of(recommender, view, weights, before)
        return known[1]

    def _training_commands(self) -> str:
        space = self._space.path
        return f"{command_in(space, 'train')}, then: {command_in(space, 'publish')}"

    def serving(self, view: View, number: int | None = None) -> Serving | None:
        """Join the recommender of a release with a view; None where it has none.

        Parameters
        ----------
        view : View
            The view.
        number : int, optional
            Number of the release; by default that of the view.
        """
        if number is not None and number != view.release_number:
            return self._serving_of(view, number)
        known = self._served
        if known is not None and known[0] is view:
            return known[2]
        with self._lock:  # of several threads, one joins them
            return self._joined(view)

    def _joined(self, view: View) -> Serving | None:
        known = self._served
        if known is None or known[0] is not view:
            # The release itself, and not its number: another space may have one of the same.
            release = view.release
            if known is not None and known[1] is release and known[2] is not None:
                recommender: Recommender | None = known[2].recommender
            else:
                recommender = published_recommender(view.release)
            joined = None
            if recommender is not None:
                before = known[2] if known is not None and known[1] is release else None
                contents = published_contents(release) if before is None else before.contents
                weights = self._space.vector_weights
                joined = Serving.of(recommender, view, weights, before, contents)
            known = self._served = view, release, joined
        return known[2]

    def _recommend(
        self,
        view: View,
        queries: UserQueries,
        options: UserListOptions,
        groups: Sequence[DomainGroup],
        n: int,
        before: Sequence[ScoredRows],
    ) -> list[ScoredRows]:
        """Recommend n items to each user from each group of domains, composed into one list."""
        firsts = before or [NO_ROWS] * len(queries.users)
        if queries.rules is None:
            depth = options.depth(n)
            by_group = self._candidates(
                view, queries.users, queries.texts, groups, queries.release, depth
            )
            return [
                compose(view, lists, options, groups, n, first, relative=True)
                for lists, first in zip(zip(*by_group, strict=True), firsts, strict=True)
            ]
        each = zip(queries.users, queries.texts, queries.rules, firsts, strict=True)
        return [
            compose_ruled(
                view,
                partial(self._candidates_of, view, user, text, groups, queries.release),
                options,
                groups,
                n,
                first,
                rules=rules,
                relative=True,
            )
            for user, text, rules, first in each
        ]

    def _candidates(
        self,
        view: View,
        users: Sequence[User],
        texts: Sequence[QueryVectors | None],
        groups: Sequence[DomainGroup],
        release: int | None,
        depth: int,
    ) -> list[list[ScoredRows]]:
        """Return so many candidates from each group of domains for each user, best first."""
        serving, weights = self.serving(view, release), self._space.vector_weights
        by_group = [
            recommend(view, users, texts, depth, group.selection, weights)
            if serving is None
            else self._ranked(serving, users, texts, depth, group)
            for group in groups
        ]
        if any(entry.value < 0 for user in users for entry in user.history):
            by_group = [move_away(view, users, lists) for lists in by_group]
        return by_group

    def _ranked(
        self,
        serving: Serving,
        users: Sequence[User],
        texts: Sequence[QueryVectors | None],
        depth: int,
        group: DomainGroup,
    ) -> list[ScoredRows]:
        """Rank the items of a group for users; single users of one moment together."""
        weights = self._space.vector_weights
        if len(users) > 1:
            return recommend_learned(serving, users, texts, depth, group, weights)
        query = RankQuery(serving, users[0], texts[0], depth, group, weights)
        return [self._together.ask(query, query.key)]

    def _candidates_of(
        self,
        view: View,
        user: User,
        text: QueryVectors | None,
        groups: Sequence[DomainGroup],
        release: int | None,
        depth: int | None,
    ) -> list[ScoredRows]:
        wanted = depth or MAX_CANDIDATES
        by_group = self._candidates(view, [user], [text], groups, release, wanted)
        return [lists[0] for lists in by_group]

    def _stored_events(self, users: Sequence[User]) -> pa.Table | None:
        """Return the stored interactions of users with an id; None where none has one."""
        ids = [user.id for user in users if user.id is not None]
        return self._space.interactions.of_users(list(dict.fromkeys(ids))) if ids else None

    def _rules(
        self,
        view: View,
        users: Sequence[User],
        options: UserListOptions,
        groups: Sequence[DomainGroup],
        events: pa.Table | None,
        moment: float,
    ) -> list[Rules] | None:
        """Return the rules of each user's list; None where there are none."""
        selections = [group.selection for group in groups]
        rules = Rules.of(view, options, selections, options.min_relevance)
        if rules is None:
            return None
        shown: Mapping[str, list[str]] = {}
        if options.exclude_shown_for is not None and events is not None:
            seconds = to_seconds("exclude_shown_for", options.exclude_shown_for)
            shown = shown_items(events, moment, seconds)
        out = []
        for user in users:
            seen = [entry.item_id for entry in user.history]
            out.append(rules.without(view.find([*seen, *shown.get(user.id or "", ())])))
        return out

    def _with_stored(
        self, view: View, users: Sequence[User], stored: pa.Table | None
    ) -> list[User]:
        """Put the stored interactions of users with an id before their given histories."""
        if stored is None:
            return list(users)
        ids = list(dict.fromkeys(user.id for user in users if user.id is not None))
        serving = self.serving(view)  # without one, the events of each user say how they count
        histories = stored_histories(stored, None if serving is None else serving.feedback)
        known = self._space.users.of_users(ids).to_pylist()
        attributes = {row.pop(USER_ID): row for row in known}
        return [
            (user.after(*histories[user.id]) if user.id in histories else user).known_by(
                attributes.get(user.id or "", {})
            )
            for user in users
        ]

    def _encode_text(self, user: User) -> QueryVectors | None:
        return encode_contents(self._space, {"text": user.text}) if user.text else None

    def _ratings_of(self, user: User, serving: Serving) -> History:
        """Return the ratings of a user: the stored ones, and the given ones before them."""
        stored: dict[str, float] = {}
        if user.id is not None:
            table, events = (
                self._space.interactions.of_users([user.id]),
                serving.recommender.rated_events,
            )
            stored = value_by_item(latest_ratings(table, events or ()))
        ratings = stored | user.ratings
        columns = serving.columns_of(list(ratings))
        in_training = columns >= 0
        values = np.array(list(ratings.values()), np.float32)
        return History(columns[in_training], values[in_training])


def _allowed(view: View, groups: Sequence[DomainGroup]) -> Mask:
    """Return which rows are in some group, shape (n_rows,)."""
    allowed = np.zeros(len(view.living.rows), bool)
    for group in groups:
        allowed |= (group.selection or view.living).rows
    return allowed


def _among(view: View, group: DomainGroup, among: Mask) -> DomainGroup:
    """Return a group with the rows of a mask only."""
    selected = (group.selection or view.living).rows & among
    return replace(group, selection=view.select_mask(selected))


def _liked_at(entries: Sequence[Interaction], place: Mapping[str, int]) -> dict[int, float]:
    """Return the strengths of liked items by their place; what has none stands beyond all."""
    liked: dict[int, float] = {}
    for beyond, entry in enumerate(entries, len(place)):
        if entry.value > 0:
            liked[place.get(entry.item_id, beyond)] = entry.value
    strongest = max(liked.values(), default=1.0)
    return {at: value / strongest for at, value in liked.items()}


def _named(given: User | tuple[str, User], at: int) -> tuple[str, User]:
    """Return a user's name beside the user."""
    if isinstance(given, User) and given.id is not None:
        return given.id, given
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], User):
        return given
    raise InvalidInput(
        f"users[{at}] is {given!r}; give User(id=...), or a pair of a name and a User"
    )
