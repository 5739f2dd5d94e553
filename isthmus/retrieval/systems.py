"""The systems of a space that evaluations measure beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.index.view import View
from isthmus.retrieval.evaluation.systems import Learner
from isthmus.retrieval.own_recommender import OwnRecommender


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
        ``"interests"``: what `Space.recommend` gives.
    """
    return {
        "interests": Learner(
            lambda _: OwnRecommender(view, weights),
            settings={
                "catalog version": view.snapshot.version,
                "release": None if view.release is None else view.release.manifest.number,
                "weights": dict(weights),
            },
        )
    }
