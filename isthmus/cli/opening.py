"""Open the space that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isthmus.space import Space


def open_space(path: Path, *, device: str = "auto", wait_s: float = 30.0) -> Space:
    """Open a space; Lance and FAISS are imported here, when there is something to do."""
    from isthmus.space import Space

    return Space.open(path, device=device, wait_s=wait_s)
