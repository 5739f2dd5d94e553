"""Result files: Parquet that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.errors import InvalidInput


@contextmanager
def writing_parquet(out: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file piece by piece; it takes its name when the body has succeeded.

    Raises
    ------
    InvalidInput
        If the file cannot be written.
    """
    partial = out.with_name(f".{out.name}.part")
    try:
        writer = pq.ParquetWriter(partial, schema)
    except OSError as error:
        raise InvalidInput(f"cannot write {out}: {error}") from error
    try:
        with writer:
            yield writer
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(table: pa.Table, out: Path) -> None:
    """Write a whole table, see `writing_parquet`."""
    with writing_parquet(out, table.schema) as writer:
        writer.write_table(table)
