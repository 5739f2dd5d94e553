"""Closed forms recover known maps."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.encoders.training.alignment.closed_form import Correlations


@pytest.fixture
def rotated():
    """Texts, and the same turned into a longer space by a known rotation."""
    rng = np.random.default_rng(0)
    text = rng.standard_normal((400, 6)) * np.arange(1, 7)
    rotation = np.linalg.qr(rng.standard_normal((9, 9)))[0][:6]
    return text.astype(np.float32), (text @ rotation).astype(np.float32)


def test_procrustes_recovers_a_rotation(rotated):
    text, image = Correlations(*rotated).procrustes(6)
    np.testing.assert_allclose(text(rotated[0]), image(rotated[1]), atol=1e-4)


def test_cca_without_a_ridge_recovers_a_linear_map():
    rng = np.random.default_rng(0)
    text = rng.standard_normal((400, 6)).astype(np.float32)
    image = (text @ rng.standard_normal((6, 9)) + 3).astype(np.float32)
    heads = Correlations(text, image).cca(6, 1e-9, 1e-9, power=0)
    np.testing.assert_allclose(heads[0](text), heads[1](image), atol=1e-3)


def test_missing_axes_are_zero(rotated):
    text, image = Correlations(*rotated).cca(10, 1.0, 1.0)
    assert (text.dim, image.dim) == (10, 10)
    assert not text(rotated[0])[:, 6:].any()
