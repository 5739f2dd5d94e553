"""Results kept in a folder, so that work that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.evaluation.report import library_versions


class KeptResults:
    """Small texts, each under the digest of all that it follows from.

    The versions of the libraries are among what a result follows from: after an update everything
    is computed again. A text is there whole or not at all, whenever the process is killed.

    Parameters
    ----------
    folder : Path
        Where they are; made where it is absent.

    Raises
    ------
    InvalidInput
        If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot keep results in {folder}: {error}") from error
        self._folder = folder
        self._versions = library_versions()

    def get(self, what: Mapping[str, Any]) -> str | None:
        """Give the text that was kept of something; None where there is none."""
        try:
            return self._file(what).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, what: Mapping[str, Any], text: str) -> None:
        """Keep a text."""
        file = self._file(what)
        partial = file.with_suffix(f".{os.getpid()}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)

    def _file(self, what: Mapping[str, Any]) -> Path:
        whole = json.dumps({**what, "versions": self._versions}, sort_keys=True, default=str)
        return self._folder / f"{digest(whole).hex()}.json"
