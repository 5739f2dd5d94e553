"""The catalog's row ids: which row of the items table is meant, whatever happened to the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.schema import ROW_ID

RowIds = npt.NDArray[np.uint64]


def row_ids_of(rows: pa.Table | pa.RecordBatch) -> RowIds:
    """Give the row ids of rows that were read with theirs, shape (n_rows,)."""
    return np.asarray(rows.column(ROW_ID).to_numpy(), np.uint64)


def having_row_ids(row_ids: RowIds) -> str:
    """Give the predicate that selects the rows with some row ids.

    Examples
    --------
    >>> having_row_ids(np.array([3, 5], np.uint64))
    '_rowid IN (3, 5)'
    """
    return f"{ROW_ID} IN ({', '.join(map(str, row_ids.tolist()))})"
