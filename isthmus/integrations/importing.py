"""Import: an existing collection becomes the items of a space, which is created if need be."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from isthmus.data.given_vectors import GIVEN_COLUMN, vector_length
from isthmus.data.inputs import open_sources
from isthmus.data.item_mapping import why_no_attribute
from isthmus.data.paths import local_path
from isthmus.data.sources import Source
from isthmus.data.types import is_list
from isthmus.errors import InvalidInput, InvalidMapping, command_in, listed
from isthmus.index.catalog.ingest import AddReport
from isthmus.integrations.arrays import open_faiss, open_numpy
from isthmus.integrations.chroma import open_chroma
from isthmus.integrations.collection import POINT_ID, Collection
from isthmus.integrations.qdrant import open_qdrant
from isthmus.integrations.request import ImportRequest
from isthmus.schema import DOMAIN, ITEM_ID, SPACE_FILE, VECTOR
from isthmus.space import Space

FORMATS: Final = ("parquet", "lance", "npy", "faiss", "qdrant", "chroma")
_SUFFIXES: Final = {
    ".parquet": "parquet",
    ".lance": "lance",
    ".npy": "npy",
    ".faiss": "faiss",
    ".index": "faiss",
}
_DATABASES: Final[dict[str, Callable[..., Collection]]] = {
    "qdrant": open_qdrant,
    "chroma": open_chroma,
}


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    space : str
        Folder of the space.
    created : bool
        Whether it was created.
    domain : str or None
        Domain of the items; None where a column names it.
    vectors : dict of str to int
        Length of each named vector that was imported.
    items : AddReport
        Counts of items.
    """

    space: str
    created: bool
    domain: str | None
    vectors: dict[str, int]
    items: AddReport

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "space": self.space,
            "created": self.created,
            "domain": self.domain,
            "vectors": self.vectors,
            **self.items.as_dict(),
        }


def import_collection(
    space: str | Path, request: ImportRequest, *, progress: bool = False
) -> ImportReport:
    """Import a collection into a space; create the space if it is not there.

    Payload and metadata become attributes. A database is read once, into files beside the space,
    so memory does not grow with the collection.

    Raises
    ------
    InvalidInput
        If the collection cannot be read, or does not fit the space.
    InvalidItems
        If rows are invalid and are not to be skipped; a space that was created is gone then.
    MissingDependency
        If the client of a database is not installed.
    """
    path = local_path(space)
    path.parent.mkdir(parents=True, exist_ok=True)
    spool = Path(tempfile.mkdtemp(prefix=".isthmus-import-", dir=path.parent))
    try:
        collection = _open(request, spool).renamed(_vector_name(request))
        exclude, notes = _left_out(collection.source, request)
        created = not (path / SPACE_FILE).exists()
        opened = _create(path, collection, request) if created else Space.open(path)
        domain = request.domain
        if domain is None and request.domain_column is None:
            domain = None if DOMAIN in collection.source.columns else collection.name
        try:
            report = opened.upsert(
                collection.source,
                id=request.id,
                domain=domain,
                domain_column=request.domain_column,
                text=request.text,
                vectors=collection.vectors,
                exclude=exclude,
                skip_invalid=request.skip_invalid,
                progress=progress,
            )
        except BaseException:
            if created and not opened.opened.catalog.snapshot().rows:
                shutil.rmtree(path)
            raise
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    report = replace(report, notes=[*report.notes, *collection.notes, *notes])
    return ImportReport(str(path), created, domain, collection.dims, report)


def _open(request: ImportRequest, spool: Path) -> Collection:
    kind = request.format or _kind_of(request.source)
    if kind not in FORMATS:
        raise InvalidInput(f"format is {kind!r}; give one of: {', '.join(FORMATS)}")
    if kind in _DATABASES:
        id_column = ITEM_ID if request.id is None else POINT_ID
        return _DATABASES[kind](request.source, request.collection, spool, id_column)
    path = local_path(request.source)
    if not path.exists():
        raise InvalidInput(f"no file {path}; check the path")
    if kind == "npy":
        return open_numpy(path, request.ids)
    return open_faiss(path, request.ids) if kind == "faiss" else _open_table(path, request)


def _kind_of(source: str) -> str:
    if source.startswith(("http://", "https://")):
        raise InvalidInput(f"{source} may be of any database; say which: --format qdrant or chroma")
    path = local_path(source)
    if (path / "chroma.sqlite3").exists():
        return "chroma"
    if (path / "meta.json").exists() and (path / "collection").is_dir():
        return "qdrant"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if path.is_dir():  # of Parquet files
        return "parquet"
    raise InvalidInput(f"cannot tell what {source} is; say it with --format: {', '.join(FORMATS)}")


def _open_table(path: Path, request: ImportRequest) -> Collection:
    """Return a table; its columns of vectors are named vectors of the same names."""
    sources = open_sources(str(path))
    if len(sources) != 1:
        raise InvalidInput(
            f"{path} is {len(sources)} files; create a space and add them with: "
            f"{command_in(None, 'upsert FILES')}"
        )
    source = sources[0]
    columns = [request.vector] if request.vector else _vector_columns(source)
    if not columns or columns[0] not in source.columns:
        raise InvalidMapping(
            f"{path} has no column of vectors{f' {request.vector!r}' if request.vector else ''}; "
            f"its columns are: {listed(source.columns)}"
        )
    dims = {column: vector_length([(source, column)]) for column in columns}
    if len(columns) == 1:
        return Collection(path.stem, source, {VECTOR: columns[0]}, {VECTOR: dims[columns[0]]})
    return Collection(path.stem, source, {c: c for c in columns}, dims)


def _vector_columns(source: Source) -> list[str]:
    def holds_vectors(type_: pa.DataType) -> bool:
        return is_list(type_) and bool(pa.types.is_floating(type_.value_type))

    return [name for name, type_ in source.types.items() if holds_vectors(type_)]


def _vector_name(request: ImportRequest) -> str | None:
    if request.vector_name is None and request.text_encoder is not None:
        return "text"
    return request.vector_name


def _left_out(source: Source, request: ImportRequest) -> tuple[list[str], list[str]]:
    """Return the names that are no attributes, and a note on those that cannot be any."""
    reserved = (DOMAIN, ITEM_ID, "text", "image")
    impossible = [
        name
        for name in source.columns
        if name not in (*reserved, *request.exclude)
        and not name.startswith(GIVEN_COLUMN)
        and why_no_attribute(name) is not None
    ]
    notes = [f"left out, since no attribute can have the name: {', '.join(impossible)}"]
    return [*request.exclude, *impossible], notes if impossible else []


def _create(path: Path, collection: Collection, request: ImportRequest) -> Space:
    return Space.create(
        path, request.encoder, text_encoder=request.text_encoder, vectors=collection.dims
    )
