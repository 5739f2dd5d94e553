"""Scrolling: all items of a filter, page by page, in the order of their ids.

The order does not depend on when an item was written. So whatever is written between two pages, no
item comes twice, and none that was there all the time is passed over.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.open_space import OpenSpace
from isthmus.operations.items import to_item
from isthmus.retrieval.search.request import ScrollRequest
from isthmus.retrieval.search.results import ItemPage
from isthmus.schema import DOMAIN, ITEM_ID, MODALITY_MASK

PREFIX: Final = b"after "


def scroll_items(space: OpenSpace, request: ScrollRequest) -> ItemPage:
    """Return the items of a page, searchable or not, with the cursor of the next."""
    snapshot = space.view().snapshot
    ids = _next_ids(snapshot, request)
    page, more = ids[: request.k], len(ids) > request.k
    cursor = _write_cursor(page[-1]) if more else None
    if not request.attributes:
        rows = {row[ITEM_ID]: row for row in snapshot.find(page, [ITEM_ID, DOMAIN]).to_pylist()}
        return ItemPage([rows[item_id] for item_id in page], cursor)
    attributes = snapshot.attributes
    given = {name: vector.column for name, vector in space.settings.given.items()}
    columns = [*snapshot.item_columns, MODALITY_MASK, *attributes.schema.names, *given.values()]
    found = {row[ITEM_ID]: row for row in snapshot.find(page, columns).to_pylist()}
    return ItemPage([to_item(found[item_id], attributes, given) for item_id in page], cursor)


def _next_ids(snapshot: Snapshot, request: ScrollRequest) -> list[str]:
    """Return the ids of the page, ascending, and one more where there is one."""
    after = None if request.cursor is None else _read_cursor(request.cursor)
    smallest = pa.table({ITEM_ID: pa.array([], pa.string())})
    for batch in snapshot.scan([ITEM_ID], request.domains, request.where):
        ids = pa.table({ITEM_ID: batch.column(ITEM_ID)})
        if after is not None:
            ids = ids.filter(pc.greater(ids.column(ITEM_ID), after))
        joined = pa.concat_tables([smallest, ids])
        wanted = min(request.k + 1, len(joined))
        first = pc.select_k_unstable(joined, wanted, sort_keys=[(ITEM_ID, "ascending")])
        smallest = joined.take(first)
    found: list[Any] = smallest.column(ITEM_ID).to_pylist()
    return found


def _write_cursor(item_id: str) -> str:
    return base64.urlsafe_b64encode(PREFIX + item_id.encode()).decode().rstrip("=")


def _read_cursor(text: str) -> str:
    try:
        read = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
        if read.startswith(PREFIX):
            return read.removeprefix(PREFIX).decode()
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput(
        f"{text[:40]!r} is no cursor of a scroll; give the cursor of a page, as it was returned"
    )
