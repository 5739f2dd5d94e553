"""A tiny teacher, and texts of its words."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import DistillSettings, load_encoder
from tests.encoders import models

WORDS = ["red", "green", "blue", "shoe", "hat", "a", "of", "zorb", "quix"]
QUICK = DistillSettings(epochs=3, batch_size=32, learning_rate=3e-3, held_out=0.2)


@pytest.fixture(scope="session")
def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(1, 6))) for _ in range(300)]


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    folder = models.sentence_folder(tmp_path_factory.mktemp("teacher"))
    return load_encoder(f"sentence-transformers/{folder}", device="cpu")
