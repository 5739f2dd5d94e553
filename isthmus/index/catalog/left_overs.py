"""What nothing refers to any more: stored media, cached embeddings, files of killed writers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.lance_tables import digest_predicates_in, open_table
from isthmus.data.media import STORED
from isthmus.durable import PART
from isthmus.encoders.embedding_cache import CONTENT
from isthmus.schema import CATALOG_TABLE, CONTENT_HASH, MEDIA, MEDIA_FOLDER, VECTORS_FILE

SETTLED_S: Final = 3_600.0  # younger files may belong to a job that is running


def remove_left_over_files(space: Path) -> tuple[int, int]:
    """Remove stored media that no item refers to, and files that killed writers left half-written.

    The caller holds the lock of the catalog.

    Returns
    -------
    tuple of int
        Files removed, bytes freed.
    """
    oldest_kept = time.time() - SETTLED_S
    files = freed = 0
    for path in [*_unreferenced_media(space), *space.rglob(f".*{PART}"), space / VECTORS_FILE]:
        try:
            stat = path.stat()
            if stat.st_mtime < oldest_kept:
                path.unlink()
                files, freed = files + 1, freed + stat.st_size
        except FileNotFoundError:
            continue
    return files, freed


def remove_unused_embeddings(space: Path, cache: Path) -> int:
    """Remove cached embeddings of contents that no item has; return how many there were.

    The caller holds the lock of the catalog.
    """
    dataset: Any = open_table(cache)
    if dataset is None:
        return 0
    modality = cache.name.partition("-")[0]
    used = pa.chunked_array([], pa.binary())
    for known, column in CONTENT_HASH.items():
        if known == modality:
            used = _catalog_column(space, column)
    cached = dataset.to_table(columns=[CONTENT]).column(CONTENT)
    unused = cached.filter(
        pc.invert(pc.is_in(cached, value_set=used.combine_chunks().cast(cached.type)))
    )
    for predicate in digest_predicates_in(CONTENT, unused.to_pylist()):
        dataset.delete(predicate)
    return len(unused)


def _unreferenced_media(space: Path) -> Iterator[Path]:
    used: set[str] = set()
    for modality in MEDIA:
        for reference in _catalog_column(space, modality).to_pylist():
            if isinstance(reference, str) and reference.startswith(STORED):
                used.add(reference.removeprefix(STORED))
    for path in (space / MEDIA_FOLDER).glob("??/*"):
        if path.name not in used and not path.name.startswith("."):
            yield path


def _catalog_column(space: Path, name: str) -> pa.ChunkedArray:
    """Return a column of every item; empty where the catalog has none of that name."""
    dataset: Any = open_table(space / CATALOG_TABLE)
    if dataset is None or name not in dataset.schema.names:
        return pa.chunked_array([], pa.binary())
    return dataset.to_table(columns=[name]).column(name)
