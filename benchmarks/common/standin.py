"""A stand-in encoder: the text is a row number, from which the vector is looked up or computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

Integers = npt.NDArray[np.int64]
DOMAIN = "items"
CHUNK_ROWS = 50_000


class RowEncoder(Encoder):
    """Encoder of row numbers, written as text.

    Parameters
    ----------
    dim : int
        Dimension of the vectors.
    vectors_of : callable
        Returns the vectors of row numbers, shape (n, dim), of unit norm.
    """

    def __init__(self, dim: int, vectors_of: Callable[[Integers], FloatArray]) -> None:
        self.spec, self.modalities, self.dim = "row/text", frozenset[Modality]({"text"}), dim
        self._vectors_of = vectors_of

    @property
    def components(self) -> Mapping[str, str]:
        """Return the kind and the dimension."""
        return {"kind": "row", "dim": str(self.dim)}

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Return the vectors of the rows."""
        del modality
        return self._vectors_of(np.asarray([int(text) for text in prepared], np.int64))


def lookup_encoder(vectors: FloatArray) -> RowEncoder:
    """Return an encoder that looks up rows of a matrix; larger row numbers wrap around."""
    return RowEncoder(vectors.shape[1], lambda rows: np.asarray(vectors[rows % len(vectors)]))


def write_items(
    path: Path, rows: range, attributes: Mapping[str, Integers] | None = None
) -> dict[str, str]:
    """Write items of row numbers as Parquet, and return the field mapping for `upsert`.

    An attribute holds a value for each row of the range.
    """
    writer = None
    for start in range(0, len(rows), CHUNK_ROWS):
        numbers = np.arange(rows.start + start, rows.start + min(start + CHUNK_ROWS, len(rows)))
        texts = pa.array(numbers).cast(pa.string())
        attribute_columns = {
            n: pa.array(v[start : start + CHUNK_ROWS]) for n, v in (attributes or {}).items()
        }
        table = pa.table({"item_id": texts, "text": texts, **attribute_columns})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return {"domain": DOMAIN, "text": "text"}
