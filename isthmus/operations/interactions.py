"""Add, read and delete the interactions of users with items."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import EventSummary, canonical
from isthmus.data.interactions.ingest import InteractionReport, add_interactions
from isthmus.data.interactions.reader import InteractionReader
from isthmus.data.recommendations import RecommendationStore
from isthmus.errors import listed, warn
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import InteractionsRequest
from isthmus.retrieval.recommend.request import EventsRequest
from isthmus.schema import ITEM_ID


def store_interactions(
    space: OpenSpace, request: InteractionsRequest, *, progress: bool = False
) -> InteractionReport:
    """Add interactions; what is stored already, exactly the same, is not stored again."""
    reader = InteractionReader(request.source, request, request)
    with write_lock(space.path, "interactions", space.wait_s):
        return add_interactions(
            space.interactions,
            reader,
            lambda item_ids: space.catalog.snapshot().contains(item_ids),
            skip_invalid=request.skip_invalid,
            progress=progress,
        )


def read_interactions(
    space: OpenSpace, user_ids: Sequence[str] | None, *, waiting: bool = False
) -> pa.Table:
    """Return the interactions of some users or of all, those that wait for their item if asked."""
    table = (
        space.interactions.table() if user_ids is None else space.interactions.of_users(user_ids)
    )
    if waiting:
        return table
    items = table.column(ITEM_ID).combine_chunks().dictionary_encode()
    in_catalog = space.catalog.snapshot().contains(items.dictionary)
    return table.filter(pc.take(in_catalog, items.indices))


def summarize_events(space: OpenSpace, request: EventsRequest) -> EventSummary:
    """Count how a training would use the stored events."""
    weights = request.event_weights
    interactions, feedback = space.training_interactions(
        request.positive_from, weights, request.half_life_days
    )
    items = interactions.column(ITEM_ID).combine_chunks().dictionary_encode()
    there = pc.take(space.catalog.snapshot().contains(items.dictionary), items.indices)
    waiting = len(interactions) - pc.sum(there.cast("int64"), min_count=0).as_py()
    known = {canonical(event) for event in feedback.rules}
    for name in weights or {}:
        if canonical(name) not in known:
            names = listed(list(feedback.rules), name)
            warn(f"no stored event is {name!r}, which event_weights names; there are: {names}")
    return EventSummary.of(interactions.filter(there), feedback, weights, waiting)


def forget_user(space: OpenSpace, user_id: str) -> int:
    """Delete every interaction, the attributes and the logged recommendations of a user.

    Its former ids, from which users were merged into it, are forgotten last: until then the same
    call finds them again.

    Returns
    -------
    int
        How many interactions there were.
    """
    with write_lock(space.path, "interactions", space.wait_s):
        names = [user_id, *space.interactions.merged.formers(user_id)]
        space.users.delete(names)
        for name in names:
            RecommendationStore(space.path).delete_user(name)
        deleted = sum(map(space.interactions.delete_user, names))
        space.interactions.merged.forget(user_id)
        return deleted
