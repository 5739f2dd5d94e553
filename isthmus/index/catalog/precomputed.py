"""What models of the second stage make of contents: computed once, stored by content digest.

The records of a model, compressed vectors of tokens or weights of terms, are in a table of the
embedding caches that is named after its fingerprint. A file of the space says which models those
are, and the searches that name none use them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import pyarrow as pa

from isthmus.data.media import MediaStore
from isthmus.durable import write_atomically
from isthmus.encoders.decoding import decode
from isthmus.encoders.embedding_cache import ContentCache, RecordCache
from isthmus.errors import InvalidInput, InvalidMedia, command_in
from isthmus.files import with_checksum, without_checksum
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.progress import Advance
from isthmus.schema import CONTENT_HASH, EMBEDDING_CACHE_FOLDER, SECOND_STAGE_FILE, Modality

FORMAT: Final = 1
CONTENTS_AT_ONCE: Final = 256

Records = np.ndarray[Any, Any]


class RecordModel(Protocol):
    """A model that makes records of a content."""

    modality: Modality

    @property
    def fingerprint(self) -> str:
        """Digest of everything that changes a record."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a record."""
        ...

    def encode_records(self, contents: Sequence[Any]) -> list[Records]:
        """Return the records of texts or pictures."""
        ...


@dataclass(frozen=True)
class PrecomputedModel:
    """A model whose records a space keeps.

    Attributes
    ----------
    spec : str
        Loads it.
    fingerprint : str
        Its fingerprint.
    """

    spec: str
    fingerprint: str


def read_models(space: Path) -> dict[str, PrecomputedModel]:
    """Return the models whose records a space keeps, by family.

    Raises
    ------
    InvalidInput
        If the file is damaged, or of another version.
    """
    path = space / SECOND_STAGE_FILE
    try:
        values = without_checksum(path.read_bytes())
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}")
        return {
            str(family): PrecomputedModel(str(of["spec"]), str(of["fingerprint"]))
            for family, of in values["models"].items()
        }
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"{path} is damaged or of another version ({error}); remove it with: "
            f"{command_in(space, 'verify --drop-damaged')}, and name the models again with: "
            f"{command_in(space, 'precompute MODEL')}"
        ) from error


def write_models(space: Path, models: Mapping[str, PrecomputedModel]) -> None:
    """Write which models' records a space keeps, atomically."""
    values = {"format": FORMAT, "models": {family: asdict(of) for family, of in models.items()}}
    write_atomically(space / SECOND_STAGE_FILE, with_checksum(json.dumps(values)))


def open_records(space: Path, model: RecordModel) -> RecordCache:
    """Return the records of a model, an empty table where there are none."""
    folder = space / EMBEDDING_CACHE_FOLDER
    return RecordCache(folder, model.modality, model.fingerprint, model.dtype)


def stored_records(space: Path, model: RecordModel) -> RecordCache | None:
    """Return the records of a model; None where none were ever stored."""
    name = f"{model.modality}-{model.fingerprint}.lance"
    return open_records(space, model) if (space / EMBEDDING_CACHE_FOLDER / name).is_dir() else None


def describe_records(space: Path, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Describe the models whose records a space keeps, by family; no model is loaded.

    Returns
    -------
    dict of str to dict
        ``model`` (its spec), ``modality``, ``items`` with a record, ``missing``, the items whose
        content has none yet, and ``bytes`` on disk.

    Raises
    ------
    InvalidInput
        If the file that names the models is damaged.
    """
    described = {}
    for family, model in read_models(space).items():
        for folder in (space / EMBEDDING_CACHE_FOLDER).glob(f"*-{model.fingerprint}.lance"):
            modality = cast(Modality, folder.name.partition("-")[0])
            cache = ContentCache(folder.parent, modality, model.fingerprint, pa.large_binary())
            hashes = snapshot.content_digests([modality]).column(CONTENT_HASH[modality])
            has_record = cache.contains(hashes.to_pylist())
            described[family] = {
                "model": model.spec,
                "modality": modality,
                "items": int(has_record.sum()),
                "missing": int((~has_record).sum()),
                "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
            }
    return described


def encode_contents(
    model: RecordModel, contents: Mapping[bytes, str], media: MediaStore
) -> tuple[dict[bytes, Records], dict[bytes, str]]:
    """Return the records of contents, and why those that cannot be decoded have none.

    Parameters
    ----------
    model : RecordModel
        The model.
    contents : mapping of bytes to str
        Texts, or references of files, by digest.
    media : MediaStore
        Reads files.
    """
    decoded: dict[bytes, Any] = {}
    failed: dict[bytes, str] = {}
    for content, value in contents.items():
        try:
            decoded[content] = _decoded(model.modality, value, media)
        except InvalidMedia as error:
            failed[content] = str(error)
    records = model.encode_records(list(decoded.values()))
    return dict(zip(decoded, records, strict=True)), failed


def _decoded(modality: Modality, value: str, media: MediaStore) -> Any:
    return value if modality == "text" else decode(modality, media.read(value))


def count_missing(snapshot: Snapshot, modality: Modality, cache: RecordCache) -> int:
    """Return the number of contents without records."""
    distinct: set[bytes] = set()
    for contents in _missing(snapshot, modality, cache):
        distinct |= contents.keys()
    return len(distinct)


def encode_missing(
    snapshot: Snapshot, model: RecordModel, cache: RecordCache, media: MediaStore, advance: Advance
) -> dict[bytes, str]:
    """Encode the contents without records; return why some could not be decoded, by digest."""
    failed: dict[bytes, str] = {}
    done: set[bytes] = set()
    try:
        for contents in _missing(snapshot, model.modality, cache):
            left = [content for content in contents if content not in done]
            done |= set(left)
            for start in range(0, len(left), CONTENTS_AT_ONCE):
                part = {h: contents[h] for h in left[start : start + CONTENTS_AT_ONCE]}
                records, undecodable = encode_contents(model, part, media)
                cache.add(list(records), list(records.values()))
                failed |= undecodable
                advance(len(part))
    finally:
        cache.close()
    return failed


def _missing(
    snapshot: Snapshot, modality: Modality, cache: RecordCache
) -> Iterator[dict[bytes, str]]:
    """Yield the contents without records, by digest, one dict per batch of items."""
    for batch in snapshot.batches([modality, CONTENT_HASH[modality]]):
        rows = zip(batch.column(1).to_pylist(), batch.column(0).to_pylist(), strict=True)
        contents = {h: value for h, value in rows if h is not None}
        if contents:
            cached = cache.contains(list(contents)).tolist()
            yield {h: v for (h, v), has in zip(contents.items(), cached, strict=True) if not has}
