from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus import Space
from tests.retrieval.recommender.worlds import QUICK, checkerboard
from tests.toy import text_encoder


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """A trained and published checkerboard that tests only read."""
    space = checkerboard(tmp_path_factory.mktemp("board") / "shop.space")
    space.train(settings=QUICK)
    space.publish()
    return space


@pytest.fixture
def copied(board: Space, tmp_path: Path) -> Callable[[], Space]:
    """Copies the board's folder, for tests that change it, and opens it."""

    def copy() -> Space:
        if not (tmp_path / "copy").exists():
            shutil.copytree(board.path, tmp_path / "copy")
        return Space.open(tmp_path / "copy", encoder={"text": text_encoder()})

    return copy
