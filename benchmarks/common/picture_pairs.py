"""Pairs of texts and pictures of three data sets, encoded by ``local``.

Vectors are cached in a space under a working folder, so that nothing is encoded twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus import Space
from isthmus.data.media import MediaStore
from isthmus.data.pairs import PairReader
from isthmus.encoders.training.alignment.pairs import Pairs, join_pairs
from isthmus.index.catalog.content_encoding import ContentEncoder, open_embedding_caches
from isthmus.index.catalog.pair_vectors import pairs_from_rows

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
SETS = ("fashion", "posters", "flickr")


def read_pairs(work: Path, names: tuple[str, ...] = SETS) -> Pairs:
    """Return the pairs of some sets; vectors are cached in the working folder."""
    return join_pairs([_read(work, name) for name in names])


def _read(work: Path, name: str) -> Pairs:
    cache_file = work / f"{name}.npz"
    if not cache_file.exists():
        work.mkdir(parents=True, exist_ok=True)
        pairs = _encode(work, _TABLES[name]())
        np.savez(
            cache_file,
            text=pairs.text,
            image=pairs.image,
            text_ids=pairs.text_ids,
            image_ids=pairs.image_ids,
        )
    cached = np.load(cache_file)
    count = len(cached["text"])
    ids = cached["text_ids"], cached["image_ids"]
    return Pairs(cached["text"], cached["image"], *ids, np.zeros(count, np.int64), (name,))


def _encode(work: Path, table: pa.Table) -> Pairs:
    path = work / "pairs.space"
    space = Space.open(path) if path.exists() else Space.create(path, "local", alignment=None)
    caches = open_embedding_caches(path, space.settings)
    media = MediaStore(path / "media")
    encoder = ContentEncoder(caches, media, space.opened.encoder_of)
    reader = PairReader(table)
    result = pairs_from_rows(reader, caches, media, encoder, count=len(table), progress=True)
    for problem in result.problems:
        print(f"left out {problem}")
    return result.pairs


def _fashion() -> pa.Table:
    return _table("fashion_products", lambda row: row["title"])


def _posters() -> pa.Table:
    return _table("movielens_posters", lambda row: f"{row['title']}. {row['genres']}")


def _table(folder: str, text_of: Callable[[dict[str, str]], str]) -> pa.Table:
    rows = [
        {"text": text_of(row), "image": str(DATA / folder / row["image"])}
        for row in pq.read_table(DATA / folder / "items.parquet").to_pylist()
        if row["image"]
    ]
    return pa.Table.from_pylist(rows)


def _flickr() -> pa.Table:
    folder = DATA / "flickr8k_1000"
    rows = [
        {"text": row["caption"], "image": str(folder / row["image"])}
        for row in pq.read_table(folder / "captions.parquet").to_pylist()
    ]
    return pa.Table.from_pylist(rows)


_TABLES = {"fashion": _fashion, "posters": _posters, "flickr": _flickr}
