"""Filtered rows: the searchable items of the catalog that a user's SQL predicate selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.index.catalog.filter_refusals import refusing
from isthmus.index.catalog.filters import check, columns_named
from isthmus.index.catalog.row_ids import RowIds, having_row_ids, row_ids_of
from isthmus.schema import INTERNAL_PREFIX, MODALITY_MASK

TAKEN_ID = "_taken_id"
TAKEN_ROWS = 5_000


def is_internal(column: str) -> bool:
    """Tell whether a column is none that a filter may name."""
    return column.startswith(INTERNAL_PREFIX)


def select_rows(dataset: Any, where: str) -> RowIds:
    """Give the row ids of searchable items that a predicate selects, by reading the table.

    Raises
    ------
    InvalidFilter
        If the table engine refuses the predicate; the message lists the columns.
    """
    columns = _visible(dataset)
    with refusing(where, columns):
        check(dataset, where, columns)
        table = dataset.scanner(columns=[MODALITY_MASK], filter=where, with_row_id=True).to_table()
    selected: RowIds = row_ids_of(table)[_is_searchable(table)]
    return selected


def select_rows_among(dataset: Any, where: str, row_ids: RowIds) -> RowIds:
    """Give those of some row ids that `select_rows` would give, in their order.

    The rows are taken by id and filtered in memory, so the cost grows with their number and
    not with the table. A value that the predicate cannot be computed for (a text that is cast to
    a number and is none) is met only if it is in one of these rows.

    Raises
    ------
    InvalidFilter
        As by `select_rows`.
    """
    columns = _visible(dataset)
    found = [row_ids[:0]]
    with refusing(where, columns):
        check(dataset, where, columns)
        read = columns_named(where, columns)
        parts = np.split(row_ids, range(TAKEN_ROWS, len(row_ids), TAKEN_ROWS))
        found += [_select_in_memory(_take(dataset, part, read), where) for part in parts]
    selected: RowIds = row_ids[np.isin(row_ids, np.concatenate(found))]
    return selected


def _select_in_memory(rows: pa.Table, where: str) -> RowIds:
    import lance

    if not len(rows):
        return np.empty(0, np.uint64)
    scanner = lance.write_dataset(rows, "memory://").scanner(columns=[TAKEN_ID], filter=where)
    return np.asarray(scanner.to_table().column(TAKEN_ID).to_numpy(), np.uint64)


def _take(dataset: Any, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
    """Give columns of those of the rows that are searchable, with their ids, in any order."""
    if not len(row_ids):
        return pa.table({TAKEN_ID: pa.array([], pa.uint64())})
    table = dataset.scanner(
        columns=[*columns, MODALITY_MASK], filter=having_row_ids(row_ids), with_row_id=True
    ).to_table()
    table = table.filter(pa.array(_is_searchable(table))).drop_columns([MODALITY_MASK])
    return table.rename_columns([*columns, TAKEN_ID])


def _visible(dataset: Any) -> pa.Schema:
    """Give the columns that a filter may name."""
    return pa.schema([f for f in dataset.schema if not is_internal(f.name)])


def _is_searchable(table: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(table.column(MODALITY_MASK).to_numpy() > 0, bool)
