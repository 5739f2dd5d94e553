"""What can be told from noise: little is, where there is nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.privacy.denoising import denoised_gram, noise_edge, popularity_above_noise, stands_out
from isthmus.privacy.noise import gaussian, symmetric_gaussian
from isthmus.privacy.statistics import Statistics

ITEMS, NOISE = 120, 1.5

pytestmark = pytest.mark.usefixtures("same_noise")


def sums(gram: np.ndarray, popularity: np.ndarray) -> Statistics:
    return Statistics(
        popularity=popularity + NOISE * gaussian(ITEMS),
        items=np.arange(ITEMS),
        scales=np.ones(ITEMS),
        gram=gram + NOISE * symmetric_gaussian(ITEMS),
        popularity_noise=NOISE,
        gram_noise=NOISE,
    )


def test_nothing_stands_out_of_noise_alone():
    found = [sums(np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS)) for _ in range(50)]
    assert sum(map(stands_out, found)) == 0
    edges = [float(np.linalg.eigvalsh(one.gram).max()) / noise_edge(one) for one in found]
    assert np.mean(edges) == pytest.approx(0.97, abs=0.03)
    assert np.mean([popularity_above_noise(one).any() for one in found]) < 0.5


def test_a_direction_above_the_edge_is_found_at_its_size():
    direction = np.full(ITEMS, ITEMS**-0.5)
    strength = 10 * NOISE * np.sqrt(2 * ITEMS)
    found = sums(strength * np.outer(direction, direction), np.zeros(ITEMS))
    assert stands_out(found)
    assert direction @ denoised_gram(found) @ direction == pytest.approx(strength, rel=0.05)


def test_a_single_pair_is_kept_and_other_entries_are_not():
    gram = np.zeros((ITEMS, ITEMS))
    gram[3, 8] = gram[8, 3] = 8 * NOISE
    denoised = denoised_gram(sums(gram, np.zeros(ITEMS)))
    assert denoised == pytest.approx(denoised.T, abs=1e-9)
    assert denoised[3, 8] == denoised.max()
    others = denoised[np.triu_indices(ITEMS, 1)]
    assert np.mean(others == 0) > 0.9


def test_popularity_above_the_noise_is_kept_as_it_is():
    popularity = np.zeros(ITEMS)
    popularity[:5] = 100.0
    found = sums(np.zeros((ITEMS, ITEMS)), popularity)
    kept = popularity_above_noise(found)
    assert (kept[:5] == found.popularity[:5]).all()
    assert not kept[5:].any()
