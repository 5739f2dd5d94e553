"""Files of item ids: a table with a column ``item_id``, or a text with an id a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isthmus.data.convert import to_objects
from isthmus.data.inputs import open_sources
from isthmus.data.paths import local_path, require_file
from isthmus.errors import InvalidInput, listed
from isthmus.ids import to_id
from isthmus.schema import ITEM_ID


def read_ids(file: Any) -> list[str]:
    """Return the ids that a file or a table names.

    Raises
    ------
    InvalidInput
        If there is no column of ids, or a value is no id; the message names the row.
    """
    if isinstance(file, str | Path) and local_path(file).suffix.lower() == ".txt":
        lines = require_file(local_path(file)).read_text("utf-8-sig").splitlines()
        return [to_id(line, f"{file} line {n}:") for n, line in enumerate(lines, 1) if line]
    ids: list[str] = []
    for source in open_sources(file, verbatim=[ITEM_ID]):
        if ITEM_ID not in source.columns:
            raise InvalidInput(
                f"{source.name} has no column {ITEM_ID!r}; its columns are: "
                f"{listed(source.columns, ITEM_ID)}"
            )
        row = 0
        for chunk in source.read():
            for value in to_objects(chunk.columns[ITEM_ID]):
                ids.append(to_id(value, f"{source.name} {source.place(row)}: {ITEM_ID}"))
                row += 1
    return ids
