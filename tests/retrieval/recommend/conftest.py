from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus import Space
from tests.toy import text_encoder


@pytest.fixture
def copied(board: Space, tmp_path: Path) -> Callable[[], Space]:
    """Copies the board's folder, for tests that change it, and opens it."""

    def copy() -> Space:
        if not (tmp_path / "copy").exists():
            shutil.copytree(board.path, tmp_path / "copy")
        return Space.open(tmp_path / "copy", encoder={"text": text_encoder()})

    return copy
