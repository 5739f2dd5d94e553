"""Columns of media: the path, address or bytes of each file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

import pyarrow as pa

from isthmus.data.columns import Problems
from isthmus.data.convert import Values, shown, to_objects, unwrap
from isthmus.data.media import is_reference
from isthmus.data.paths import local_path, scheme_of
from isthmus.schema import inline_column


def not_unicode(name: str, values: Values) -> Problems:
    """Return the texts that are no valid Unicode, which no file can hold."""
    if not isinstance(values, list):
        return []
    texts = [value if isinstance(value, str) else None for value in values]
    try:
        pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return [
            (row, f"column {name!r} holds {shown(text)}, which is no valid Unicode")
            for row, text in enumerate(texts)
            if text is not None and not is_unicode(text)
        ]
    return []


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded, that is, has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_files(values: Values, kind: str) -> tuple[list[str | bytes | None], Problems]:
    """Return the path, address or bytes of each file, None where there is none, and problems."""
    files: list[str | bytes | None] = []
    problems: Problems = []
    for row, value in enumerate(to_objects(values)):
        file = unwrap(value)
        if isinstance(file, Mapping):
            file = unwrap(file.get("bytes")) or file.get("path")
        if isinstance(file, PurePath):
            file = str(file)
        if not isinstance(file, str | bytes | None):
            name = type(file).__name__
            problems.append((row, f"holds a {name}; give {kind} as a path, bytes or a data URI"))
            file = None
        if isinstance(file, str) and not is_unicode(file):
            problems.append((row, f"holds {shown(file)}, which is no valid Unicode"))
            file = None
        files.append((file.strip() if isinstance(file, str) else file) or None)
    return files, problems


def file_columns(values: Values, modality: str, folder: Path | None) -> dict[str, pa.Array]:
    """Return a column of references and one of bytes, each null where the other has the file."""
    files, _ = read_files(values, modality)
    paths = [resolve_file(f, folder) if isinstance(f, str) else None for f in files]
    inline = [f if isinstance(f, bytes) else None for f in files]
    return {
        modality: pa.array(paths, pa.string()),
        inline_column(modality): pa.array(inline, pa.binary()),
    }


def resolve_file(value: str, folder: Path | None) -> str:
    """Return a reference to a file: an address as it is, a path absolute.

    An address of a scheme that is not read stays too: its item goes to quarantine by name.
    """
    if is_reference(value) or scheme_of(value) not in (None, "file"):
        return value
    return str(local_path(value, folder))
