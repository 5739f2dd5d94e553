"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from isthmus import Space
from tests.retrieval.recommend.worlds import QUICK, checkerboard
from tests.shared import built_once
from tests.toy import text_encoder, two_encoders

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("tests", deadline=None)  # a test never asserts a time
settings.load_profile("tests")


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """An empty space with separate toy encoders of text and image."""
    return Space.create(tmp_path / "toy.space", two_encoders())


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """A trained and published checkerboard that tests only read, or copy."""

    def build(folder: Path) -> None:
        space = checkerboard(folder / "shop.space")
        space.train(settings=QUICK)
        space.publish()

    folder = built_once(tmp_path_factory, "board", build)
    return Space.open(folder / "shop.space", encoder={"text": text_encoder()})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets."""
    folder = Path(os.environ.get("ISTHMUS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"no data sets in {folder}; set ISTHMUS_DATA")
    return folder
