"""Import from Chroma: a server, or the folder of its persistent client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from isthmus.errors import InvalidInput, MissingDependency, first_line
from isthmus.integrations.collection import (
    READ_ROWS,
    Collection,
    Points,
    Spool,
    choose_collection,
    measure_note,
)
from isthmus.schema import TEXT, VECTOR

HTTPS_PORT, HTTP_PORT = 443, 8000


def open_chroma(address: str, collection: str | None, spool: Path, id_column: str) -> Collection:
    """Return a collection of Chroma, read into a folder; documents become texts.

    Parameters
    ----------
    address : str
        ``http://host:8000``, or the folder of the persistent client.
    collection : str or None
        Its name; None for the only one.
    spool : Path
        An empty folder.
    id_column : str
        Column of the ids of records.

    Raises
    ------
    InvalidInput
        If there is no such collection, it is empty, or the server does not answer.
    MissingDependency
        If the client is not installed.
    """
    client = _connect(address)
    try:
        names = [getattr(c, "name", c) for c in client.list_collections()]
        name = choose_collection(collection, names, address)
        chosen = client.get_collection(name, embedding_function=None)
        rows: Spool | None = None
        for points in _read(chosen):
            if rows is None:
                dim = next((len(v) for v in points.vectors[VECTOR] if v is not None), 0)
                if not dim:
                    raise InvalidInput(f"collection {name!r} of {address} has no embeddings")
                rows = Spool(spool, {VECTOR: dim}, id_column)
            rows.add(points)
    except InvalidInput:
        raise
    except Exception as error:  # of the client: of many kinds, and not ours
        raise InvalidInput(f"{address} does not answer as Chroma: {first_line(error)}") from error
    if rows is None:
        raise InvalidInput(f"collection {name!r} of {address} is empty")
    measure = (chosen.configuration_json.get("hnsw") or {}).get("space", "l2")
    notes = [] if measure == "cosine" else [measure_note(measure, name)]
    return rows.collection(name, address, notes)


def _connect(address: str) -> Any:
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingDependency(
            "importing from Chroma needs its client: pip install 'isthmus[chroma]'"
        ) from error
    settings = Settings(anonymized_telemetry=False)
    try:
        if not address.startswith(("http://", "https://")):
            try:
                return chromadb.PersistentClient(address, settings)
            except ValueError:  # this process has it open already, with the default settings
                return chromadb.PersistentClient(address)
        url = urlsplit(address)
        secure = url.scheme == "https"
        port = url.port or (HTTPS_PORT if secure else HTTP_PORT)
        return chromadb.HttpClient(url.hostname or "", port, ssl=secure, settings=settings)
    except Exception as error:
        raise InvalidInput(f"cannot open {address} as Chroma: {first_line(error)}") from error


def _read(collection: Any) -> Iterator[Points]:
    offset, include = 0, ["embeddings", "metadatas", "documents"]
    while True:
        found = collection.get(limit=READ_ROWS, offset=offset, include=include)
        ids = found["ids"]
        if not ids:
            return
        embeddings = found["embeddings"] if found["embeddings"] is not None else [None] * len(ids)
        metadatas = found["metadatas"] or [None] * len(ids)
        documents = found["documents"] or [None] * len(ids)
        payloads = [
            {**(metadata or {}), **({} if document is None else {TEXT: document})}
            for metadata, document in zip(metadatas, documents, strict=True)
        ]
        yield Points(ids, {VECTOR: list(embeddings)}, payloads)
        offset += len(ids)
