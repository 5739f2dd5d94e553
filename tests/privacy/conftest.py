from __future__ import annotations

import numpy as np
import pytest

from isthmus.privacy import noise


@pytest.fixture
def same_noise(monkeypatch):
    """Takes random numbers from a seed, so that a test of chance ends the same each time."""
    monkeypatch.setattr(noise.secrets, "token_bytes", np.random.default_rng(7).bytes)
