"""Models that are built, and encoders that are loaded, once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from isthmus.encoders import Encoder, load_encoder


@pytest.fixture(scope="session")
def encoder_of() -> Callable[[str], Encoder]:
    """Loads the encoder of a spec on the CPU, at its first use."""
    return cache(lambda spec: load_encoder(spec, device="cpu"))


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a model with a function of `models`, at its first use; tests only read the folder."""

    @cache
    def build(save: Callable[..., Path], **options: Any) -> Path:
        return save(tmp_path_factory.mktemp(save.__name__) / "model", **options)

    return build
