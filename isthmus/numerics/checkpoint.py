"""Checkpoints of a training run, written atomically."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from isthmus.durable import make_folder, put_file

FILE: Final = "checkpoint.pt"
SECONDS_BETWEEN: Final = 30.0  # the most training time that an interruption may lose


class Checkpoint:
    """The file that a training run resumes from.

    Parameters
    ----------
    folder : Path
        Folder of the file; created when the first checkpoint is written.
    key : str
        Identifies what is trained and with which settings. A checkpoint with another key is
        ignored and then overwritten.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / FILE, key
        self._written_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is more than `SECONDS_BETWEEN` old."""
        return time.monotonic() - self._written_at > SECONDS_BETWEEN

    def read(self) -> dict[str, Any] | None:
        """Return the last state written under this key, on the CPU; None if there is none."""
        import torch

        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return state if state.get("key") == self._key else None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by a new state; a crash leaves the old one or the new one."""
        import torch

        make_folder(self._path.parent)
        partial = self._path.with_suffix(".part")
        torch.save({"key": self._key, **state}, partial)
        put_file(partial, self._path)
        self._written_at = time.monotonic()
