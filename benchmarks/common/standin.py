"""A stand-in encoder: the text is a row number, and the vector is looked up or made from it."""

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
PIECE = 50_000


class RowEncoder(Encoder):
    """Returns the vector of a row for the row's number, written as text.

    Parameters
    ----------
    dim : int
        Length of a vector.
    vectors_of : callable
        Gives the vectors of row numbers, shape (n, dim), of unit norm.
    """

    def __init__(self, dim: int, vectors_of: Callable[[Integers], FloatArray]) -> None:
        self.spec, self.modalities, self.dim = "row/text", frozenset[Modality]({"text"}), dim
        self._vectors_of = vectors_of

    @property
    def components(self) -> Mapping[str, str]:
        """Name the kind and the length."""
        return {"kind": "row", "dim": str(self.dim)}

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Look the vectors up."""
        del modality
        return self._vectors_of(np.asarray([int(text) for text in prepared], np.int64))


def looked_up(vectors: FloatArray) -> RowEncoder:
    """Return an encoder of the rows of a matrix; row numbers beyond it begin again at 0."""
    return RowEncoder(vectors.shape[1], lambda rows: np.asarray(vectors[rows % len(vectors)]))


def write_items(
    path: Path, rows: range, attributes: Mapping[str, Integers] | None = None
) -> dict[str, str]:
    """Write items of row numbers as Parquet, and give the mapping that `upsert` needs.

    An attribute holds a value for each row of the range.
    """
    writer = None
    for start in range(0, len(rows), PIECE):
        numbers = np.arange(rows.start + start, rows.start + min(start + PIECE, len(rows)))
        texts = pa.array(numbers).cast(pa.string())
        own = {n: pa.array(v[start : start + PIECE]) for n, v in (attributes or {}).items()}
        table = pa.table({"item_id": texts, "text": texts, **own})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return {"domain": DOMAIN, "text": "text"}
