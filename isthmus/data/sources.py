"""Sources of items: files, globs, tables, frames and rows, all read as Arrow batches, twice.

An input is read once to be checked and once to be added, so a source can always be read again.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.dict_rows import rows_source
from isthmus.data.files import READERS, open_file
from isthmus.data.source import READ_ROWS, Source
from isthmus.errors import InvalidInput, InvalidItems


def open_sources(items: Any, verbatim: Sequence[str] = ()) -> list[Source]:
    """Open whatever holds items.

    Parameters
    ----------
    items : path, glob, list of those, pyarrow table, reader or batch, pandas or polars frame,
            Lance dataset, mapping, or iterable of mappings
        Files may be Parquet, CSV, TSV, JSON lines, JSON, Arrow/Feather, or a Lance folder.
    verbatim : sequence of str
        Columns that a CSV must keep as text.

    Returns
    -------
    list of Source
        One a file, or one for all else.

    Raises
    ------
    InvalidInput
        If a file is absent, unreadable or of an unknown kind.
    """
    if isinstance(items, (str, Path)):
        return [open_file(path, verbatim) for path in _expand(items)]
    if (
        isinstance(items, (list, tuple))
        and items
        and all(isinstance(i, (str, Path)) for i in items)
    ):
        return [source for item in items for source in open_sources(item, verbatim)]
    if isinstance(items, (list, tuple)) and not items:
        return []
    return [_open_in_memory(items)]


def _expand(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    if path.exists():
        if path.is_dir() and path.suffix != ".lance":
            return _files_of(path)
        return [path]
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    if not found:
        raise InvalidInput(f"no file matches {str(pattern)!r}; check the path")
    return [Path(name) for name in found]


def _files_of(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in READERS)
    if not found:
        raise InvalidInput(f"folder {folder} holds no {', '.join(sorted(READERS))} file")
    return found


def _open_in_memory(items: Any) -> Source:
    table = _as_table(items)
    if table is not None:
        return Source(
            "input", table.schema, lambda: iter(table.to_batches(READ_ROWS)), None, len(table)
        )
    if isinstance(items, Mapping):
        items = [items]
    if not isinstance(items, Iterable):
        raise InvalidInput(
            f"cannot take items from a {type(items).__name__}; give files, an Arrow table, a "
            "pandas or polars frame, or a list of dicts"
        )
    rows = list(items)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidItems([(number, f"is a {type(row).__name__}, not a dict")])
    return rows_source("input", lambda: iter(rows), None)


def _as_table(items: Any) -> pa.Table | None:
    if isinstance(items, pa.Table):
        return items
    if isinstance(items, pa.RecordBatch):
        return pa.Table.from_batches([items])
    if isinstance(items, pa.RecordBatchReader):
        return items.read_all()
    if hasattr(items, "to_table"):  # a Lance or pyarrow dataset
        return items.to_table()
    if type(items).__module__.split(".")[0] == "pandas":
        return pa.Table.from_pandas(items, preserve_index=False)
    if hasattr(items, "__arrow_c_stream__"):
        return pa.table(items)
    return None
