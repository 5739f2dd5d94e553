"""The checkpoint of a training: where it goes on when it was cut off."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

FILE: Final = "checkpoint.pt"
SECONDS: Final = 30.0  # of a training that may be lost


class Checkpoint:
    """A file that holds all that a training needs to go on, bit for bit.

    Parameters
    ----------
    folder : Path
        Where it is.
    key : str
        What is trained and how; what was written under another key is not read.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / FILE, key
        self._written_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last one is so long ago that another should be written."""
        return time.monotonic() - self._written_at > SECONDS

    def read(self) -> dict[str, Any] | None:
        """Give what was written last; None where nothing was, or under another key."""
        import torch

        if not self._path.exists():
            return None
        found: dict[str, Any] = torch.load(self._path, weights_only=True)
        return found if found["key"] == self._key else None

    def write(self, state: dict[str, Any]) -> None:
        """Write what the training needs, whole or not at all."""
        import torch

        partial = self._path.with_suffix(".part")
        torch.save({"key": self._key, **state}, partial)
        partial.replace(self._path)
        self._written_at = time.monotonic()
