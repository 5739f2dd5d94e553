"""The user's cache folder: small results that hold for this machine and take long to find."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.digests import digest
from isthmus.durable import write_atomically

FOLDER_VARIABLE: Final = "ISTHMUS_CACHE"


def cache_folder() -> Path:
    """Return the folder: ``ISTHMUS_CACHE``, or ``isthmus`` where the user's caches are."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "isthmus"


def remembered(kind: str, key: str, compute: Callable[[], str]) -> str:
    """Return a value of the cache, or compute it and remember it.

    A folder that cannot be written, or a damaged file, costs time and nothing else.

    Parameters
    ----------
    kind : str
        Name of the subfolder.
    key : str
        Everything that the value depends on.
    compute : callable
        Returns the value.
    """
    file = cache_folder() / kind / f"{digest(key).hex()}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        entry = json.loads(file.read_text("utf-8"))
        if entry["key"] == key and isinstance(entry["value"], str):
            return str(entry["value"])
    value = compute()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"key": key, "value": value}).encode())
    return value
