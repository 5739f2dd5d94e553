"""The recommendations of a space, asked as a system of evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.evaluation.lists import Lists
from isthmus.evaluation.task import Task
from isthmus.index.releases.view import View
from isthmus.retrieval.recommend.content_based import recommend
from isthmus.retrieval.recommend.space_recommender import USERS_A_BATCH
from isthmus.retrieval.recommend.users import User


@dataclass(frozen=True, eq=False)
class OwnRecommender:
    """What `Space.recommend` gives to users of whom the history is known, and nothing else.

    Attributes
    ----------
    view : View
        What is searched.
    weights : mapping of str to float
        Weight of each block.
    """

    view: View
    weights: Mapping[str, float]

    def recommend(self, task: Task, n: int) -> Lists:
        """Rank the candidates that have a vector; it learns nothing of the train table."""
        rows = self.view.find(task.candidates)
        mask = np.zeros(len(self.view.living.rows), bool)
        mask[rows[rows >= 0]] = True
        allowed = self.view.only(mask)
        items = []
        for start in range(0, len(task.users), USERS_A_BATCH):
            users = [User(user.history) for user in task.users[start : start + USERS_A_BATCH]]
            texts = [None] * len(users)
            found = recommend(self.view, users, texts, n, allowed, self.weights)
            items += [self.view.item_ids(own) for own, _ in found]
        return Lists(items)
