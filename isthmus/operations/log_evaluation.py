"""Evaluate from the log: replay logged lists, and compare the arms of an experiment."""

from __future__ import annotations

import json

import pyarrow as pa

from isthmus.data.lance_tables import any_of
from isthmus.data.recommendations import RecommendationStore
from isthmus.errors import InvalidInput, IsthmusError
from isthmus.evaluation.logged import (
    AbEvaluation,
    EvaluateAbRequest,
    EvaluateLogRequest,
    LogEvaluation,
    evaluate_ab,
    evaluate_log,
)
from isthmus.index.open_space import OpenSpace
from isthmus.progress import progress_bar
from isthmus.retrieval.recommend.space_recommender import SpaceRecommender
from isthmus.schema import ITEM_ID, TIME, USER_ID


def evaluate_logged(
    space: OpenSpace,
    recommender: SpaceRecommender,
    request: EvaluateLogRequest,
    *,
    progress: bool = False,
) -> LogEvaluation:
    """Estimate what the lists of a scenario would have earned, see `Space.evaluate_log`."""
    recommender.log.flush()
    logged = RecommendationStore(space.path).table()
    logged = logged.slice(max(0, len(logged) - request.lists))
    replayed: list[int] = []
    targets: list[list[str]] = []
    with progress_bar("replaying", len(logged), show=progress) as advance:
        for at, row in enumerate(logged.to_pylist()):
            advance(1)
            if row[USER_ID] is None or not row[ITEM_ID]:
                continue
            scenario = row["scenario"] if request.scenario is None else request.scenario
            arguments = json.loads(row["request"])
            first, n = row["offset"], len(row[ITEM_ID])
            try:
                arguments |= {"k": first + n, "scenario": scenario, "explore": 0.0}
                hits = recommender.replay(row[USER_ID], row[TIME], arguments)
            except IsthmusError:
                if request.scenario is not None and not replayed:
                    raise
                continue
            replayed.append(at)
            targets.append([hit.item_id for hit in hits[first:]])
    lists = logged.take(pa.array(replayed, pa.int64()))
    events = space.interactions.of_recommendations()
    return evaluate_log(lists, events, targets, request, len(logged) - len(lists))


def evaluate_experiment(
    space: OpenSpace, recommender: SpaceRecommender, request: EvaluateAbRequest
) -> AbEvaluation:
    """Compare the arms of an experiment, see `Space.evaluate_ab`."""
    recommender.log.flush()
    store = RecommendationStore(space.path)
    lists = store.table(f"{any_of('experiment', [request.experiment])} AND arm IS NOT NULL")
    if not len(lists):
        names = sorted({name for name in store.table().column("experiment").to_pylist() if name})
        there = f"there are: {', '.join(names)}" if names else "there is none"
        raise InvalidInput(f"the log has no list of the experiment {request.experiment!r}; {there}")
    return evaluate_ab(lists, space.interactions.of_recommendations(), request)
