"""The trained recommender as a system of evaluations: it learns what a task shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from isthmus.evaluation.lists import Lists
from isthmus.evaluation.task import Task, TestUser
from isthmus.index.releases.view import View
from isthmus.retrieval.recommend.serving import Serving, recommend_learned
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_corpus
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.ranking import Group
from isthmus.schema import TIME, WEIGHT

USERS_A_BATCH = 256


@dataclass(frozen=True, eq=False)
class LearnedSystem:
    """A recommender that was trained on a task's train table, and serves as a space does.

    Attributes
    ----------
    serving : Serving
        What answers.
    weights : mapping of str to float
        Weight of each block.
    """

    serving: Serving
    weights: Mapping[str, float]

    @classmethod
    def learn(
        cls,
        task: Task,
        view: View,
        weights: Mapping[str, float],
        settings: RecommenderSettings,
        *,
        show: bool = False,
    ) -> LearnedSystem:
        """Train on what a task may be learned from."""
        from isthmus.retrieval.recommend.train import train_recommender

        train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
        corpus = space_corpus(view, weights, train)
        targets = None if task.target_domain is None else [task.target_domain]
        trained = train_recommender(corpus, settings, targets, show=show)
        return cls(Serving.of(trained.recommender, view, weights), weights)

    def recommend(self, task: Task, n: int) -> Lists:
        """Rank the candidates that the space holds, with what every source proposed."""
        view = self.serving.view
        rows = view.find(task.candidates)
        mask = np.zeros(len(view.living.rows), bool)
        mask[rows[rows >= 0]] = True
        group = Group(list(view.domains), view.only(mask))
        timed = task.train.column(TIME).null_count == 0
        heads = self.serving.recommender.heads
        items: list[list[str]] = []
        sources: dict[str, list[list[str]]] = {}
        for start in range(0, len(task.users), USERS_A_BATCH):
            users = [_user(user, timed) for user in task.users[start : start + USERS_A_BATCH]]
            if task.target_domain is not None and task.target_domain in heads:
                self._answer(users, task.target_domain, group, n, items, sources)
            else:
                texts = [None] * len(users)
                found = recommend_learned(self.serving, users, texts, n, group, self.weights)
                items += [view.item_ids(own).tolist() for own, _ in found]
        return Lists(items, sources=sources)

    def _answer(
        self,
        users: list[User],
        domain: str,
        group: Group,
        n: int,
        items: list[list[str]],
        sources: dict[str, list[list[str]]],
    ) -> None:
        serving = self.serving
        histories = serving.histories(users, [None] * len(users))
        allowed = serving.allowed(domain, group.allowed)
        answer = serving.answer(histories, domain, allowed)
        ids = serving.corpus.item_ids
        for user in range(len(users)):
            items.append(ids[answer.best(user, n)[0]].tolist())
            for name in answer.pool.sources:
                found = ids[answer.found_by(user, name, n)].tolist()
                sources.setdefault(name, []).append(found)


def _user(user: TestUser, ordered: bool) -> User:
    known = User(user.history).history
    return User().after(known, ordered)
