"""Read the logged recommendations."""

from __future__ import annotations

import pyarrow as pa

from isthmus.data.lance_tables import any_of
from isthmus.data.recommendations import RecommendationStore
from isthmus.index.open_space import OpenSpace
from isthmus.retrieval.recommend.recommendation_log import RecommendationLog
from isthmus.schema import USER_ID


def read_recommendations(
    space: OpenSpace, log: RecommendationLog, user_id: str | None = None
) -> pa.Table:
    """Return the logged recommendations, with those that wait in this process."""
    log.flush()
    where = None if user_id is None else any_of(USER_ID, [user_id])
    return RecommendationStore(space.path).table(where)
