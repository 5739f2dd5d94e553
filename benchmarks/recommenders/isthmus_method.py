"""Isthmus with its defaults: what `Space.train` makes of a task's train table, asked as a space."""

from __future__ import annotations

from typing import ClassVar

from isthmus import Space
from isthmus.evaluation.space_systems import space_systems_of
from isthmus.evaluation.task import Task
from recommenders.method import Answer, Data, Method, Score, Settings, processor_seconds


class IsthmusMethod(Method):
    """Nothing is tuned by hand; what the training tunes, it tunes within the train table."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "implicit", "numpy")
    needs: ClassVar[str] = "space"

    def answer(self, data: Data, task: Task, settings: Settings, n: int) -> Answer:
        """Train, and rank the candidates for the users of a task."""
        del data, settings
        opened = Space.open(self.resources["space"]).opened
        start = processor_seconds()
        system = space_systems_of(opened.view(), opened.vector_weights)["isthmus"].make(task)
        trained = processor_seconds()
        lists = system.recommend(task, n)
        recommender = system.serving.recommender  # its rankers are small beside these
        self.model = recommender.generators.state(), recommender.content_graph
        return Answer(
            [list(items) for items in lists.items], trained - start, processor_seconds() - trained
        )

    def fit(self, data: Data, settings: Settings) -> Score:
        """Not used: `answer` does all."""
        raise NotImplementedError
