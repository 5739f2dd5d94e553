"""What is written of items: their texts, and what is text of their attributes."""

from __future__ import annotations

import pyarrow as pa

from isthmus.index.catalog.row_ids import RowIds
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.schema import TEXT


def written(snapshot: Snapshot, row_ids: RowIds) -> list[str]:
    """Give all that is written of rows, shape (n_rows,); nothing of a row that is gone."""
    told = [TEXT, *(field.name for field in snapshot.attributes if _is_text(field.type))]
    columns = (column.to_pylist() for column in snapshot.fetch(row_ids, told).columns)
    return [" ".join(map(_joined, filter(None, row))) for row in zip(*columns, strict=True)]


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is text, or a list of texts."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    own = kind.value_type if listed else kind
    return bool(pa.types.is_string(own) or pa.types.is_large_string(own))


def _joined(value: str | list[str | None]) -> str:
    return value if isinstance(value, str) else " ".join(filter(None, value))
