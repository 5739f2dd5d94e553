"""A source: rows that can be read again and again, as Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from isthmus.errors import InvalidInput, first_line

READ_ROWS = 16_384
Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Source:
    """Rows that can be read again and again.

    Attributes
    ----------
    name : str
        What messages call it.
    schema : pyarrow.Schema
        Its columns.
    read : callable
        Returns a new iterator over record batches.
    folder : Path or None
        What paths of images and audio are relative to; None stands for the working folder.
    rows : int or None
        Number of rows, where it is known without reading.
    """

    name: str
    schema: pa.Schema
    read: Callable[[], Batches]
    folder: Path | None = None
    rows: int | None = None

    def batches(self) -> Batches:
        """Read the rows.

        Raises
        ------
        InvalidInput
            If the source cannot be read to its end.
        """
        try:
            yield from self.read()
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {self.name}: {first_line(error)}") from error


def name_together(sources: Sequence[Source]) -> str:
    """Give what messages call an input of one or more sources."""
    return sources[0].name if len(sources) == 1 else f"{len(sources)} files"


def count_together(sources: Sequence[Source]) -> int | None:
    """Give the number of rows of all sources, where it is known without reading."""
    counts = [source.rows for source in sources]
    return sum(c for c in counts if c is not None) if None not in counts else None
