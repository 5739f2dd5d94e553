"""A collection of another program: rows with vectors, as a source that an upsert takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from isthmus.data.given_vectors import GIVEN_COLUMN
from isthmus.data.sources import Chunk, Source
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray, Mask
from isthmus.schema import ITEM_ID, VECTOR

READ_ROWS: Final = 1_000  # of a request to a database
CHUNK_ROWS: Final = 4_096
POINT_ID: Final = "point_id"


@dataclass(frozen=True)
class Collection:
    """A collection to import.

    Attributes
    ----------
    name : str
        Its name: the domain of its items, where none is given.
    source : Source
        Its rows, which can be read several times.
    vectors : dict of str to str
        By named vector, the column of the source that holds it.
    dims : dict of str to int
        Length of each.
    notes : tuple of str
        What the importer found out, such as another measure of distance.
    """

    name: str
    source: Source
    vectors: dict[str, str]
    dims: dict[str, int]
    notes: tuple[str, ...] = ()

    def renamed(self, name: str | None) -> Collection:
        """Return the collection with another name for its unnamed vector."""
        if name is None or VECTOR not in self.vectors:
            return self
        vectors = {name if v == VECTOR else v: column for v, column in self.vectors.items()}
        dims = {name if v == VECTOR else v: dim for v, dim in self.dims.items()}
        return Collection(self.name, self.source, vectors, dims, self.notes)


@dataclass(frozen=True, eq=False)
class Points:
    """Some rows of a collection.

    Attributes
    ----------
    ids : sequence of str
        Length n.
    vectors : mapping of str to sequence
        By named vector, a list of numbers or None for each row.
    payloads : sequence of mapping
        What else is known of each row, by name.
    """

    ids: Sequence[str]
    vectors: Mapping[str, Sequence[Any]]
    payloads: Sequence[Mapping[str, Any]]


@dataclass(eq=False)
class Spool:
    """Rows of a database, read once into files, so that they can be read again.

    Parameters
    ----------
    folder : Path
        An empty folder.
    dims : mapping of str to int
        Length of each named vector.
    id_column : str
        Column of the ids.
    """

    folder: Path
    dims: Mapping[str, int]
    id_column: str = ITEM_ID
    rows: int = 0
    _names: dict[str, None] = field(default_factory=dict)

    def add(self, points: Points) -> None:
        """Write rows."""
        for name, dim in self.dims.items():
            present = np.array([v is not None for v in points.vectors[name]], bool)
            matrix = np.zeros((len(points.ids), dim), "<f4")
            if present.any():
                matrix[present] = np.asarray(
                    [v for v in points.vectors[name] if v is not None], np.float32
                )
            with self._file(name).open("ab") as file:
                matrix.tofile(file)
            with self._file(name, ".present").open("ab") as file:
                present.tofile(file)
        with (self.folder / "payloads.jsonl").open("a", encoding="utf-8") as lines:
            for item_id, payload in zip(points.ids, points.payloads, strict=True):
                row = {**payload, self.id_column: item_id}
                self._names |= dict.fromkeys(row)
                lines.write(json.dumps(row, default=str) + "\n")
        self.rows += len(points.ids)

    def collection(self, name: str, address: str, notes: Sequence[str]) -> Collection:
        """Return what was written, as a collection of an address."""
        columns = {vector: f"{GIVEN_COLUMN}{vector}" for vector in self.dims}
        source = self._source(f"{address} {name}")
        return Collection(name, source, columns, dict(self.dims), tuple(notes))

    def _source(self, name: str) -> Source:
        names = (*self._names, *(f"{GIVEN_COLUMN}{vector}" for vector in self.dims))
        types = {
            f"{GIVEN_COLUMN}{vector}": pa.list_(pa.float32(), dim)
            for vector, dim in self.dims.items()
        }
        return Source(name, names, self._chunks, types, rows=self.rows)

    def _file(self, name: str, suffix: str = ".f32") -> Path:
        return self.folder / f"{list(self.dims).index(name)}{suffix}"

    def _chunks(self) -> Iterator[Chunk]:
        if not self.rows:
            return
        matrices = {
            name: np.memmap(self._file(name), "<f4", "r").reshape(-1, dim)
            for name, dim in self.dims.items()
        }
        masks = {name: np.memmap(self._file(name, ".present"), bool, "r") for name in self.dims}
        with (self.folder / "payloads.jsonl").open(encoding="utf-8") as lines:
            for start in range(0, self.rows, CHUNK_ROWS):
                end = min(start + CHUNK_ROWS, self.rows)
                rows = [json.loads(next(lines)) for _ in range(end - start)]
                columns: dict[str, Any] = {n: [row.get(n) for row in rows] for n in self._names}
                for name, matrix in matrices.items():
                    column = vector_column_of(matrix[start:end], masks[name][start:end])
                    columns[f"{GIVEN_COLUMN}{name}"] = column
                yield Chunk(columns, end - start, _absent(rows, self._names))


def vector_column_of(matrix: FloatArray, present: Mask | None = None) -> pa.Array:
    """Return a matrix of shape (n, dim) as lists of fixed size, null where not present."""
    flat = pa.array(np.ascontiguousarray(matrix, np.float32).ravel())
    mask = None if present is None else pa.array(~np.asarray(present))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1], mask=mask)


def _absent(rows: Sequence[Mapping[str, Any]], names: Mapping[str, None]) -> dict[str, list[int]]:
    """Return for each name the rows that do not have it, where there are any."""
    absent = {name: [at for at, row in enumerate(rows) if name not in row] for name in names}
    return {name: places for name, places in absent.items() if places}


def choose_collection(collection: str | None, names: Sequence[str], address: str) -> str:
    """Return the collection that is meant: the only one, where none is named.

    Raises
    ------
    InvalidInput
        If there is none of the name, or several and none is named.
    """
    if collection is None and len(names) == 1:
        return names[0]
    if collection in names:
        return str(collection)
    there = ", ".join(names) or "none"
    what = "give --collection" if collection is None else f"no collection {collection!r}"
    raise InvalidInput(f"{address}: {what}; there are: {there}")


def measure_note(measure: str, name: str) -> str:
    """Return the note on a collection that is not searched by cosine."""
    return (
        f"{name} is searched by {measure} where it comes from, and by cosine here: vectors are "
        "stored at unit norm, and the order may differ where theirs were not"
    )
