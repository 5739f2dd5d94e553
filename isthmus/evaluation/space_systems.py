"""The systems of a space that evaluations measure beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from isthmus.digests import digest
from isthmus.evaluation.content_based_system import OwnRecommender
from isthmus.evaluation.rating_system import RatingSystem
from isthmus.evaluation.systems import Learner
from isthmus.evaluation.task import Task
from isthmus.evaluation.trained_system import LearnedSystem
from isthmus.index.releases.view import View
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.search.item_vectors import item_vectors


def systems_of(view: View, weights: Mapping[str, float]) -> dict[str, Learner]:
    """Name every way in which a space can answer tasks: the place to add another.

    Parameters
    ----------
    view : View
        The space at one moment.
    weights : mapping of str to float
        Weight of each block.

    Returns
    -------
    dict of str to Learner
        ``"isthmus"``: a recommender trained on what the task shows, as `Space.train` does.
        ``"isthmus ratings"``: the model of values, learned likewise.
        ``"interests"``: what `Space.recommend` gives where nothing was trained.
    """
    how = RecommenderSettings()
    told = {
        "catalog version": view.snapshot.version,
        "release": None if view.release is None else view.release.manifest.number,
        "weights": dict(weights),
    }
    known: dict[tuple[str | None, bytes], LearnedSystem] = {}

    def learn(task: Task) -> LearnedSystem:
        key = task.target_domain, digest(repr(task.train.to_pydict()))
        if key not in known:
            known.clear()
            known[key] = LearnedSystem.learn(task, view, weights, how)
        return known[key]

    return {
        "isthmus": Learner(learn, settings={**told, **asdict(how)}),
        "isthmus ratings": Learner(
            lambda task: rating_system(task, view, weights), ranks=False, rates=True, settings=told
        ),
        "interests": Learner(lambda _: OwnRecommender(view, weights), settings=told),
    }


def rating_system(task: Task, view: View, weights: Mapping[str, float]) -> RatingSystem:
    """Make a system that predicts values, with the contents of a task's items."""
    rows = view.find(task.candidates)
    return RatingSystem(list(task.candidates), item_vectors(view, rows, weights))
