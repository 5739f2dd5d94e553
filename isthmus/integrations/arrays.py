"""Import from a NumPy file, or a FAISS index, beside a file of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.data.given_vectors import GIVEN_COLUMN
from isthmus.data.id_file import read_ids
from isthmus.data.sources import Chunk, Source
from isthmus.errors import InvalidInput, first_line
from isthmus.ids import to_ids
from isthmus.integrations.collection import (
    CHUNK_ROWS,
    Collection,
    measure_note,
    vector_column_of,
)
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import ITEM_ID, VECTOR


def open_numpy(path: Path, ids_file: Path | None) -> Collection:
    """Return the vectors of a ``.npy`` file, read in parts.

    Raises
    ------
    InvalidInput
        If it holds no matrix of numbers, or there is not one id for each row.
    """
    try:
        matrix = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error
    if getattr(matrix, "ndim", 0) != 2 or matrix.dtype.kind not in "fiu":
        shape = getattr(matrix, "shape", ())
        raise InvalidInput(f"{path} holds no numbers of shape (n_items, dim), but {shape}")
    ids = _ids(path, ids_file, len(matrix))

    def rows(start: int, end: int) -> FloatArray:
        return np.asarray(matrix[start:end], np.float32)

    return _collection(path, ids, matrix.shape[1], rows)


def open_faiss(path: Path, ids_file: Path | None) -> Collection:
    """Return the vectors of a FAISS index, reconstructed in parts.

    Raises
    ------
    InvalidInput
        If it cannot be read, gives no vectors back, or there is not one id for each.
    """
    import faiss

    try:
        owner = faiss.read_index(str(path))  # of the memory that its casts and parts are in
        index = faiss.downcast_index(owner)
        stored_ids: Any = None
        if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
            stored_ids = faiss.vector_to_array(index.id_map).tolist()
            index = faiss.downcast_index(index.index)
        reconstruct = _reconstruction(index, owner)
        if index.ntotal:
            reconstruct(0, 1)
    except RuntimeError as error:
        raise InvalidInput(
            f"{path} gives no vectors back ({first_line(error)}); import the vectors that it was "
            "made of, as a .npy file"
        ) from error
    ids: Sequence[str]
    if ids_file is None and stored_ids is not None:
        ids = to_ids(stored_ids, f"{path}: id")
    else:
        ids = _ids(path, ids_file, int(index.ntotal))
    notes = []
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        notes.append(measure_note("Euclidean distance", str(path)))
    if not isinstance(index, faiss.IndexFlat | faiss.IndexHNSWFlat | faiss.IndexIVFFlat):
        notes.append(
            f"{path} is a {type(index).__name__}, which may hold its vectors compressed: what is "
            "imported is what it reconstructs"
        )
    return _collection(path, ids, int(index.d), reconstruct, notes)


def _reconstruction(index: Any, owner: Any) -> Callable[[int, int], FloatArray]:
    """Return the function that returns the vectors from one row to another, shape (n, dim)."""
    import faiss

    in_lists = isinstance(index, faiss.IndexIVF)
    if in_lists:
        index.make_direct_map()

    def rows(start: int, end: int) -> FloatArray:
        assert owner.ntotal == index.ntotal  # keeps the owner
        if in_lists:
            found = index.reconstruct_batch(np.arange(start, end))
        else:
            found = index.reconstruct_n(start, end - start)
        return np.asarray(found, np.float32)

    return rows


def _ids(path: Path, ids_file: Path | None, rows: int) -> Sequence[str]:
    """Return one id for each row."""
    if ids_file is None:
        raise InvalidInput(
            f"{path} holds no ids; give a file with one for each of its {rows:,} vectors: --ids "
            "FILE (.txt, .npy, or a table with a column item_id)"
        )
    if ids_file.suffix.lower() == ".npy":
        ids = to_ids(np.load(ids_file).tolist(), f"{ids_file}: id")
    else:
        ids = read_ids(ids_file)
    if len(ids) != rows:
        raise InvalidInput(f"{ids_file} holds {len(ids):,} ids, and {path} {rows:,} vectors")
    return ids


def _collection(
    path: Path,
    ids: Sequence[str],
    dim: int,
    rows: Callable[[int, int], FloatArray],
    notes: Sequence[str] = (),
) -> Collection:
    column = f"{GIVEN_COLUMN}{VECTOR}"

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(ids), CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, len(ids))
            part = pa.array(ids[start:end], pa.string())
            vectors = vector_column_of(rows(start, end))
            yield Chunk({ITEM_ID: part, column: vectors}, end - start)

    types = {ITEM_ID: pa.string(), column: pa.list_(pa.float32(), dim)}
    source = Source(str(path), (ITEM_ID, column), chunks, types, rows=len(ids))
    return Collection(path.stem, source, {VECTOR: column}, {VECTOR: dim}, tuple(notes))
