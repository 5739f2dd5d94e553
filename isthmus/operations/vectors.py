"""Export: the vectors of items as Arrow, and into Parquet, Lance and NumPy files.

The catalog is read in batches, so memory does not grow with the number of items.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.files import writing_parquet
from isthmus.data.lance_library import lance_library
from isthmus.durable import partial_name, put_file
from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput, command_in, first_line
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import VectorsRequest
from isthmus.operations.verbs import streamed
from isthmus.schema import DOMAIN, ITEM_ID, MODALITIES, MODALITY_MASK

BATCH_BYTES: Final = 16 * 2**20  # of vectors in memory at a time
MAX_BATCH_ROWS: Final = 8_192
SUFFIXES: Final = (".parquet", ".npy", ".lance")
IDS_SUFFIX: Final = ".ids.txt"
FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes
    ----------
    vectors : str
        The file, or the folder of a Lance table.
    ids : str or None
        The file of item ids, one a line, beside a NumPy file.
    rows : int
        Items.
    names : tuple of str
        Named vectors.
    """

    vectors: str
    ids: str | None
    rows: int
    names: tuple[str, ...]


def exported_column(name: str) -> str:
    """Return the column that an export has of a named vector.

    Those that are called as a content have another name, since that has a column too.

    Examples
    --------
    >>> exported_column("text"), exported_column("embedding")
    ('text_vector', 'embedding')
    """
    return f"{name}_vector" if name in MODALITIES else name


def read_vectors(space: OpenSpace, request: VectorsRequest) -> pa.RecordBatchReader:
    """Return the vectors of items as a stream of Arrow batches.

    Raises
    ------
    InvalidInput
        If there is no such named vector, or domain.
    InvalidFilter
        If the predicate is refused.
    """
    named_vectors = _chosen(space, request.names)
    snapshot = space.view().snapshot
    schema = _schema(snapshot, request, named_vectors)

    def begin() -> Iterator[pa.RecordBatch]:
        space.view()  # keeps the version that is read
        return _batches(snapshot, request, named_vectors, schema)

    return pa.RecordBatchReader.from_batches(schema, streamed(space.path, begin))


def export_vectors(space: OpenSpace, out: Path, request: VectorsRequest) -> ExportReport:
    """Write the vectors of items into a file, by its suffix: Parquet, Lance or NumPy.

    A NumPy file holds the vectors of one name, float32 of shape (n, dim), and beside it
    ``NAME.ids.txt`` has the item ids of its rows. What stands under a name is whole: a file that
    was there is replaced at the end.

    Raises
    ------
    InvalidInput
        If the suffix is another, or the file cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"cannot tell the format of {out}; end it in {', '.join(SUFFIXES)}")
    names = tuple(vector.name for vector in _chosen(space, request.names))
    if out.suffix.lower() == ".npy":
        return _export_npy(space, out, request, names)
    reader = read_vectors(space, request)
    rows = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in reader:
            rows += len(batch)
            yield batch

    if out.suffix.lower() == ".lance":
        _write_lance(out, reader.schema, counted())
    else:
        with writing_parquet(out, reader.schema) as writer:
            for batch in counted():
                writer.write_batch(batch)
    return ExportReport(str(out), None, rows, names)


def _export_npy(
    space: OpenSpace, out: Path, request: VectorsRequest, names: Sequence[str]
) -> ExportReport:
    if len(names) != 1:
        raise InvalidInput(
            f"a NumPy file holds vectors of one name, and there are {', '.join(names)}; choose one "
            f"with --names {names[0]}"
        )
    if request.attributes:
        raise InvalidInput("a NumPy file holds no attributes; export to .parquet or .lance")
    column = exported_column(names[0])
    reader = read_vectors(space, request)
    dim = reader.schema.field(column).type.list_size
    ids_file, rows = out.with_suffix(IDS_SUFFIX), 0
    partial, partial_ids = partial_name(out), partial_name(ids_file)
    try:
        with partial.open("wb") as file, partial_ids.open("wb") as ids:
            _write_header(file, 0, dim)
            for batch in reader:
                batch = batch.filter(pc.is_valid(batch.column(column)))
                np.asarray(batch.column(column).flatten(), "<f4").tofile(file)
                ids.write(_lines(batch.column(ITEM_ID).to_pylist()))
                rows += len(batch)
            file.seek(0)
            _write_header(file, rows, dim)
        put_file(partial_ids, ids_file)
        put_file(partial, out)
    except OSError as error:
        raise InvalidInput(f"cannot write {out}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
        partial_ids.unlink(missing_ok=True)
    return ExportReport(str(out), str(ids_file), rows, tuple(names))


def _lines(ids: Sequence[str]) -> bytes:
    """Return ids one a line; refuse one that breaks a line."""
    for item_id in ids:
        if len(item_id.splitlines()) != 1:
            raise InvalidInput(
                f"item id {item_id!r} has a line break, which a file of ids cannot hold; export to "
                ".parquet or .lance"
            )
    return "".join(f"{item_id}\n" for item_id in ids).encode()


def _write_header(file: BinaryIO, rows: int, dim: int) -> None:
    """Write the header of a NumPy file; NumPy leaves room for any number of rows."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_lance(out: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    if out.exists():
        raise InvalidInput(f"{out} exists already; choose another name, or remove it")
    partial = partial_name(out)
    try:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance_library().write_dataset(reader, str(partial), mode="create")
        partial.replace(out)
    except OSError as error:
        raise InvalidInput(f"cannot write {out}: {first_line(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _chosen(space: OpenSpace, names: Sequence[str] | None) -> list[NamedVector]:
    """Return the named vectors with these names, all by default."""
    known = {vector.name: vector for vector in space.named_vectors}
    for name in names or ():
        if name not in known:
            there = ", ".join(known) or "none yet"
            raise InvalidInput(f"no named vector {name!r} in this space; there are: {there}")
    chosen = [vector for name, vector in known.items() if not names or name in names]
    if not chosen:
        raise InvalidInput(f"{space.path} has no named vector yet; add items with vectors first")
    return chosen


def _schema(
    snapshot: Snapshot, request: VectorsRequest, named_vectors: Sequence[NamedVector]
) -> pa.Schema:
    fields = [pa.field(ITEM_ID, pa.string()), pa.field(DOMAIN, pa.string())]
    fields += [
        pa.field(exported_column(vector.name), pa.list_(pa.float32(), vector.dim))
        for vector in named_vectors
    ]
    taken = {field.name for field in fields}
    if request.attributes:
        fields += [snapshot.item_schema.field(n) for n in _contents(snapshot) if n not in taken]
        held = _held(snapshot, request)
        for name in dict.fromkeys(name for by_name in held.values() for name in by_name):
            columns = [by_name[name] for by_name in held.values() if name in by_name]
            types = {snapshot.attributes.schema.field(column).type for column in columns}
            if name in taken or len(types) != 1:
                why = "has other types in other domains" if len(types) != 1 else "is a vector's"
                cast = command_in(None, "attributes cast", "DOMAIN", name, "TYPE")
                raise InvalidInput(
                    f"the name of attribute {name!r} {why}; export one domain or without "
                    f"attributes, or cast it: {cast}"
                )
            fields.append(pa.field(name, types.pop()))
    return pa.schema(fields)


def _held(snapshot: Snapshot, request: VectorsRequest) -> dict[str, dict[str, str]]:
    """Return by domain and attribute the column, of the domains that are exported."""
    requested = request.domains
    columns = snapshot.attributes.columns
    return {d: dict(names) for d, names in columns.items() if requested is None or d in requested}


def _contents(snapshot: Snapshot) -> list[str]:
    return [name for name in snapshot.item_columns if name not in (ITEM_ID, DOMAIN)]


def _batches(
    snapshot: Snapshot,
    request: VectorsRequest,
    named_vectors: Sequence[NamedVector],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    columns = [ITEM_ID, DOMAIN, MODALITY_MASK, *(vector.column for vector in named_vectors)]
    if request.attributes:
        held = _held(snapshot, request)
        columns += _contents(snapshot)
        columns += dict.fromkeys(c for by_name in held.values() for c in by_name.values())
    row_bytes = FLOAT_BYTES * sum(vector.dim for vector in named_vectors)
    rows = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // row_bytes))
    for batch in snapshot.scan(columns, request.domains, request.where, rows=rows):
        batch = batch.filter(_any_vector(batch, named_vectors))
        if not len(batch):
            continue
        arrays: dict[str, Any] = {n: batch.column(n) for n in (ITEM_ID, DOMAIN)}
        for vector in named_vectors:
            arrays[exported_column(vector.name)] = _fixed(batch.column(vector.column), vector.dim)
        for name in schema.names[len(arrays) :]:
            arrays[name] = _attribute(snapshot, request, batch, name)
        yield pa.record_batch([arrays[name] for name in schema.names], schema=schema)


def _any_vector(batch: pa.RecordBatch, named_vectors: Sequence[NamedVector]) -> pa.Array:
    """Return the rows that have one of some named vectors."""
    present = [np.asarray(pc.is_valid(batch.column(v.column))) for v in named_vectors]
    return pa.array(np.logical_or.reduce(present))


def _fixed(column: pa.Array, dim: int) -> pa.Array:
    """Return lists of one length as lists of fixed size, null where there is none."""
    present = np.asarray(pc.is_valid(column))
    matrix = np.zeros((len(column), dim), np.float32)
    matrix[present] = np.asarray(column.flatten()).reshape(-1, dim)
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), dim, mask=pa.array(~present))


def _attribute(
    snapshot: Snapshot, request: VectorsRequest, batch: pa.RecordBatch, name: str
) -> pa.Array:
    """Return a content, or an attribute out of the column of each domain that has one."""
    if name in snapshot.item_columns:
        return batch.column(name)
    by_domain = _held(snapshot, request)
    domains = batch.column(DOMAIN)
    result: pa.Array | None = None
    for column in {names[name]: None for names in by_domain.values() if name in names}:
        of = [domain for domain, names in by_domain.items() if names.get(name) == column]
        mask = pc.is_in(domains, value_set=pa.array(of, pa.string()))
        values = pc.if_else(mask, batch.column(column), pa.scalar(None, batch.column(column).type))
        result = values if result is None else pc.coalesce(result, values)
    return result
