"""Import from Qdrant: a server, or the folder of its local mode."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isthmus.errors import InvalidInput, MissingDependency, first_line
from isthmus.integrations.collection import (
    READ_ROWS,
    Collection,
    Points,
    Spool,
    choose_collection,
    measure_note,
)
from isthmus.schema import VECTOR

KEY_VARIABLE = "QDRANT_API_KEY"


def open_qdrant(address: str, collection: str | None, spool: Path, id_column: str) -> Collection:
    """Return a collection of Qdrant, read into a folder.

    Parameters
    ----------
    address : str
        ``http://host:6333``, or the folder of the local mode. The key of a server is taken from
        the environment variable ``QDRANT_API_KEY``.
    collection : str or None
        Its name; None for the only one.
    spool : Path
        An empty folder.
    id_column : str
        Column of the ids of points.

    Raises
    ------
    InvalidInput
        If there is no such collection, or the server does not answer.
    MissingDependency
        If the client is not installed.
    """
    client = _connect(address)
    try:
        name = choose_collection(
            collection, [c.name for c in client.get_collections().collections], address
        )
        params = client.get_collection(name).config.params.vectors
        named = params if isinstance(params, Mapping) else {"": params}
        notes = []
        for vector, one in named.items():
            if str(getattr(one.distance, "value", one.distance)) != "Cosine":
                notes.append(measure_note(str(one.distance.value), vector or name))
        plain = {v: one for v, one in named.items() if one.multivector_config is None}
        notes += [
            f"{v} holds several vectors a point, and is left out" for v in named.keys() - plain
        ]
        dims = {vector or VECTOR: int(one.size) for vector, one in plain.items()}
        if not dims:
            raise InvalidInput(f"collection {name!r} of {address} has no vectors to import")
        rows = Spool(spool, dims, id_column)
        for points in _read(client, name, dims):
            rows.add(points)
    except InvalidInput:
        raise
    except Exception as error:  # of the client: of many kinds, and not ours
        raise InvalidInput(f"{address} does not answer as Qdrant: {first_line(error)}") from error
    finally:
        client.close()
    return rows.collection(name, address, notes)


def _connect(address: str) -> Any:
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingDependency(
            "importing from Qdrant needs its client: pip install 'isthmus[qdrant]'"
        ) from error
    try:
        if address.startswith(("http://", "https://")):
            return QdrantClient(url=address, api_key=os.environ.get(KEY_VARIABLE), timeout=60)
        return QdrantClient(path=address)
    except Exception as error:
        raise InvalidInput(f"cannot open {address} as Qdrant: {first_line(error)}") from error


def _read(client: Any, name: str, dims: Mapping[str, int]) -> Iterator[Points]:
    offset = None
    while True:
        records, offset = client.scroll(
            name, limit=READ_ROWS, offset=offset, with_payload=True, with_vectors=True
        )
        if records:
            yield Points(
                [str(record.id) for record in records],
                {vector: [_vector(record.vector, vector) for record in records] for vector in dims},
                [record.payload or {} for record in records],
            )
        if offset is None:
            return


def _vector(stored: Any, name: str) -> Any:
    """Return one dense vector of a point; None where it has none."""
    if isinstance(stored, Mapping):
        return stored.get("" if name == VECTOR and VECTOR not in stored else name)
    return stored
