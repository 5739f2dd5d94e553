"""The systems of a space that evaluations measure beside the baselines: trained, content-based."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import Lists
from isthmus.evaluation.systems import SystemFactory
from isthmus.evaluation.task import Task, TestUser
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import Mask
from isthmus.retrieval.ratings.components import RatingSettings
from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.ratings import Codes, History
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.request import UserListOptions
from isthmus.retrieval.recommend.serving import Serving, recommend_learned
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.retrieval.recommend.space_recommender import FIRST_PLACES
from isthmus.retrieval.recommend.train import train_recommender
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.examples import item_vectors
from isthmus.retrieval.search.paging import lists_in_windows
from isthmus.retrieval.search.query import NO_ROWS, ScoredRows
from isthmus.retrieval.search.ranking import DomainGroup, compose_ruled, group_domains
from isthmus.retrieval.search.rules import Rules
from isthmus.schema import ITEM_ID, TIME, USER_ID, VALUE, WEIGHT

USER_BATCH_SIZE = 256


def space_systems_of(
    view: View,
    weights: Mapping[str, float],
    users: pa.Table | None = None,
    scenarios: Mapping[str, UserListOptions] | None = None,
) -> dict[str, SystemFactory]:
    """Return every way in which a space can answer tasks, by name.

    Parameters
    ----------
    view : View
        The space at one moment.
    weights : mapping of str to float
        Weight of each named vector.
    users : pyarrow.Table, optional
        Attributes of users: user_id, and a column for each.
    scenarios : mapping of str to UserListOptions, optional
        Rules by the name of their scenario.

    Returns
    -------
    dict of str to SystemFactory
        ``"isthmus + NAME"``: the first of the following, under the rules of a scenario.
        ``"isthmus"``: a recommender trained on the task's train table, as `Space.train` does.
        ``"isthmus ratings"``: the rating model, trained likewise.
        ``"interests"``: what `Space.recommend` returns where nothing was trained.
    """
    recommender_settings = RecommenderSettings()
    settings = {
        "catalog version": view.snapshot.version,
        "release": None if view.release is None else view.release.manifest.number,
        "weights": dict(weights),
        "user attributes": None if users is None else digest(repr(users.to_pydict())).hex(),
    }
    cache: dict[tuple[str | None, bytes], TrainedSystem] = {}

    def train(task: Task) -> TrainedSystem:
        key = task.target_domain, digest(repr(task.train.to_pydict()))
        if key not in cache:
            cache.clear()
            cache[key] = TrainedSystem.train(task, view, weights, recommender_settings, users=users)
        return cache[key]

    trained = {**settings, **asdict(recommender_settings)}
    ruled = {
        scenario_system(name): SystemFactory(
            partial(_ruled, train, options),
            settings={**trained, "rules": options.model_dump(mode="json", exclude_unset=True)},
        )
        for name, options in (scenarios or {}).items()
    }
    return {
        "isthmus": SystemFactory(train, settings=trained),
        **ruled,
        "isthmus ratings": SystemFactory(
            lambda task: rating_system(task, view, weights),
            ranks=False,
            rates=True,
            settings=settings,
        ),
        "interests": SystemFactory(lambda _: ContentBasedSystem(view, weights), settings=settings),
    }


def scenario_system(name: str) -> str:
    """Return the name of the system that recommends under the rules of a scenario.

    Examples
    --------
    >>> scenario_system("home")
    'isthmus + home'
    """
    return f"isthmus + {name}"


def _ruled(
    train: Callable[[Task], TrainedSystem], options: UserListOptions, task: Task
) -> RuledSystem:
    return RuledSystem(train(task), options)


def rating_system(task: Task, view: View, weights: Mapping[str, float]) -> RatingSystem:
    """Return a system that predicts values, with the contents of a task's items."""
    rows = view.find(task.candidates)
    return RatingSystem(list(task.candidates), item_vectors(view, rows, weights))


@dataclass(frozen=True, eq=False)
class TrainedSystem:
    """A recommender that was trained on a task's train table, and serves as a space does.

    Attributes
    ----------
    serving : Serving
        What answers.
    weights : mapping of str to float
        Weight of each named vector.
    attributes : mapping of str to mapping of str to value
        The attributes of each user that has some.
    """

    serving: Serving
    weights: Mapping[str, float]
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def train(
        cls,
        task: Task,
        view: View,
        weights: Mapping[str, float],
        settings: RecommenderSettings,
        *,
        users: pa.Table | None = None,
        show: bool = False,
    ) -> TrainedSystem:
        """Train on the train table of a task."""
        train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
        data = space_training_data(view, weights, train, users=users)
        targets = None if task.target_domain is None else [task.target_domain]
        trained = train_recommender(data, settings, targets, show=show)
        rows = [] if users is None else users.to_pylist()
        known = {row.pop(USER_ID): row for row in rows}
        return cls(Serving.of(trained.recommender, view, weights), weights, known)

    def recommend(self, task: Task, n: int) -> Lists:
        """Rank the candidates that are in the space; name those of each candidate generator."""
        view = self.serving.view
        rows = view.find(task.candidates)
        mask = np.zeros(len(view.living.rows), bool)
        mask[rows[rows >= 0]] = True
        group = DomainGroup(list(view.domains), view.select_mask(mask))
        timed = task.train.column(TIME).null_count == 0
        rankers = self.serving.recommender.rankers
        items: list[list[str]] = []
        generators: dict[str, list[list[str]]] = {}
        for start in range(0, len(task.users), USER_BATCH_SIZE):
            users = [
                _user(user, timed).known_by(self.attributes.get(user.user_id, {}))
                for user in task.users[start : start + USER_BATCH_SIZE]
            ]
            if task.target_domain is not None and task.target_domain in rankers:
                self._answer(users, task.target_domain, group, n, items, generators)
            else:
                texts = [None] * len(users)
                lists = recommend_learned(self.serving, users, texts, n, group, self.weights)
                items += [view.item_ids(rows).tolist() for rows, _ in lists]
        return Lists(items, generators=generators)

    def _answer(
        self,
        users: list[User],
        domain: str,
        group: DomainGroup,
        n: int,
        items: list[list[str]],
        generators: dict[str, list[list[str]]],
    ) -> None:
        serving = self.serving
        histories = serving.histories(users, [None] * len(users))
        allowed = serving.allowed(domain, group.selection)
        ranked = serving.rank(histories, domain, allowed)
        ids = serving.data.item_ids
        for user in range(len(users)):
            items.append(ids[ranked.best(user, n)[0]].tolist())
            for name in ranked.pool.generators:
                proposed = ids[ranked.proposed_by(name, user, n)].tolist()
                generators.setdefault(name, []).append(proposed)


@dataclass(frozen=True, eq=False)
class RuledSystem:
    """A trained recommender whose lists obey business rules.

    Rules that follow from what was shown to a user have no effect: a task has no impressions.

    Attributes
    ----------
    trained : TrainedSystem
        The recommender.
    options : UserListOptions
        The rules.
    """

    trained: TrainedSystem
    options: UserListOptions

    def recommend(self, task: Task, n: int) -> Lists:
        """Rank the candidates that are in the space, under the rules."""
        view, serving = self.trained.serving.view, self.trained.serving
        rows = view.find(task.candidates)
        mask = np.zeros(len(view.living.rows), bool)
        mask[rows[rows >= 0]] = True
        groups = [
            replace(group, selection=view.select_mask(_within(mask, group.selection)))
            for group in group_domains(view, self.options)
        ]
        selections = [group.selection for group in groups]
        rules = Rules.of(view, self.options, selections, self.options.min_relevance) or Rules(view)
        timed = task.train.column(TIME).null_count == 0
        items = []
        for test_user in task.users:
            user = _user(test_user, timed).known_by(
                self.trained.attributes.get(test_user.user_id, {})
            )
            known = view.find([entry.item_id for entry in user.history])
            make = partial(self._list, serving, user, groups, rules.without(known))
            (found,) = lists_in_windows(n, make, FIRST_PLACES)
            items.append(view.item_ids(found[0]).tolist())
        return Lists(items)

    def _list(
        self,
        serving: Serving,
        user: User,
        groups: Sequence[DomainGroup],
        rules: Rules,
        n: int,
        before: Sequence[ScoredRows],
    ) -> list[ScoredRows]:
        def candidates(depth: int | None) -> list[ScoredRows]:
            return [
                recommend_learned(serving, [user], [None], depth or n, group, self.trained.weights)[
                    0
                ]
                for group in groups
            ]

        first = before[0] if before else NO_ROWS
        options = self.options
        return [
            compose_ruled(
                serving.view, candidates, options, groups, n, first, rules=rules, relative=True
            )
        ]


def _within(mask: Mask, selection: Selection | None) -> Mask:
    return mask if selection is None else mask & selection.rows


def _user(user: TestUser, ordered: bool) -> User:
    history = User(user.history).history
    return User().after(history, ordered)


@dataclass(frozen=True, eq=False)
class ContentBasedSystem:
    """What `Space.recommend` returns without training, for users with a history.

    Attributes
    ----------
    view : View
        What is searched.
    weights : mapping of str to float
        Weight of each named vector.
    """

    view: View
    weights: Mapping[str, float]

    def recommend(self, task: Task, n: int) -> Lists:
        """Rank the candidates that have a vector, without training."""
        rows = self.view.find(task.candidates)
        mask = np.zeros(len(self.view.living.rows), bool)
        mask[rows[rows >= 0]] = True
        allowed = self.view.select_mask(mask)
        items = []
        for start in range(0, len(task.users), USER_BATCH_SIZE):
            users = [User(user.history) for user in task.users[start : start + USER_BATCH_SIZE]]
            texts = [None] * len(users)
            lists = recommend(self.view, users, texts, n, allowed, self.weights)
            items += [self.view.item_ids(rows) for rows, _ in lists]
        return Lists(items)


class RatingSystem:
    """Fits a rating model to a task's train table, and predicts the hidden values of its users.

    The history of a user is taken from the train table; the model has no parameters of users.

    Parameters
    ----------
    item_ids : sequence of str
        Items with content, beside those of the task.
    vectors : numpy.ndarray, optional
        float32, shape (len(item_ids), dim): their content.
    settings : RatingSettings, optional
        By default chosen by cross-validation within the train table.
    seed : int
        Random seed.
    """

    def __init__(
        self,
        item_ids: Sequence[str] = (),
        vectors: Features | None = None,
        *,
        settings: RatingSettings | None = None,
        seed: int = 0,
    ) -> None:
        if vectors is not None and len(vectors) != len(item_ids):
            raise InvalidInput(
                f"{len(vectors)} vectors for {len(item_ids)} items; give one an item"
            )
        self._item_ids = list(item_ids)
        self._vectors = np.zeros((len(item_ids), 0), np.float32) if vectors is None else vectors
        self._settings, self._seed = settings, seed
        self.model: RatingModel | None = None

    def rate(self, task: Task) -> list[Features]:
        """Fit, and predict the value of each item of each user's truth, in its order."""
        trained = pc.unique(task.train.column(ITEM_ID)).to_pylist()
        items = list(dict.fromkeys([*self._item_ids, *trained, *task.candidates]))
        columns = {item: column for column, item in enumerate(items)}
        without_content = np.zeros(
            (len(items) - len(self._item_ids), self._vectors.shape[1]), np.float32
        )
        matrix = _matrix(task.train, columns)
        self.model = RatingModel.fit(
            matrix,
            np.concatenate([self._vectors, without_content]),
            _domain_codes(items, task.domains),
            settings=self._settings,
            seed=self._seed,
        )
        rows = matrix.rows_of([user.user_id for user in task.users])
        histories = [_history(matrix, row) for row in rows.tolist()]
        items_of = [np.array([columns[item] for item in u.truth], np.int64) for u in task.users]
        return self.model.predict(histories, items_of)


def _matrix(train: pa.Table, columns: Mapping[str, int]) -> InteractionMatrix:
    table = train
    if WEIGHT not in table.column_names:
        table = table.append_column(WEIGHT, pa.repeat(1.0, len(table)))
    for name in (USER_ID, ITEM_ID):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table.column(name).cast(pa.string()))
    at = table.column_names.index(VALUE)
    table = table.set_column(at, VALUE, table.column(VALUE).cast(pa.float32()))
    return InteractionMatrix.from_table(
        table, lambda ids: np.array([columns[item] for item in ids], np.int64), len(columns)
    )


def _domain_codes(items: Sequence[str], domains: Mapping[str, str]) -> Codes:
    """Return the code of each item's domain by name; items without one share a domain."""
    names = [domains.get(item, "") for item in items]
    return np.unique(np.array(names, np.str_), return_inverse=True)[1].astype(np.int64)


def _history(matrix: InteractionMatrix, row: int) -> History:
    if row < 0:
        return History((), ())
    of_user = slice(matrix.starts[row], matrix.starts[row + 1])
    return History(matrix.columns[of_user], matrix.strengths[of_user])
