"""Off-policy estimates against a simulation whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.numerics.off_policy import LoggedSamples, cross_fitted, estimate_off_policy

ITEMS, PLACES, USERS = 6, 3, 200


class World:
    """Users see three places; the reward depends on item and place, and on how eager a user is."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.rates = rng.uniform(0.05, 0.5, ITEMS)[:, None] * np.array([1.0, 0.7, 0.5])
        self.logged = rng.dirichlet(np.full(ITEMS, 2.0), PLACES).T * 0.9 + 0.1 / ITEMS
        self.target = np.full((ITEMS, PLACES), 0.0)
        self.target[rng.integers(0, ITEMS, PLACES), np.arange(PLACES)] = 1

    @property
    def truth(self):
        return float((self.target * self.rates).sum(axis=0).mean())

    def samples(self, model=True):
        rng, shape = self.rng, (USERS, PLACES)
        ends = self.logged.cumsum(axis=0)
        items = (rng.random(shape)[..., None] > ends.T[None]).sum(axis=-1)
        places = np.broadcast_to(np.arange(PLACES), shape)
        eager = rng.choice([0.5, 1.5], USERS)[:, None]
        rewards = (rng.random(shape) < self.rates[items, places] * eager).astype(float)
        units = np.repeat(np.arange(USERS), PLACES)
        items, places, rewards = items.ravel(), places.ravel(), rewards.ravel()
        targets = self.target.argmax(axis=0)[places]
        predicted = cross_fitted(units, items, places, rewards, targets, ITEMS)
        if not model:
            predicted = np.full(len(units), 0.9), np.full(len(units), 0.9)
        return LoggedSamples(
            units, rewards, self.logged[items, places], self.target[items, places], *predicted
        )


def test_intervals_cover_the_truth_and_estimates_are_unbiased():
    runs, names = 200, ("ips", "snips", "doubly_robust")
    covered = dict.fromkeys(names, 0)
    errors = {name: [] for name in names}
    for seed in range(runs):
        world = World(seed)
        found = estimate_off_policy(world.samples(), resamples=200, seed=seed)
        for name in names:
            estimate = getattr(found, name)
            covered[name] += estimate.low <= world.truth <= estimate.high
            errors[name].append(estimate.value - world.truth)
    for name in names:
        assert covered[name] >= 0.9 * runs, (name, covered)
        mean, error = np.mean(errors[name]), np.std(errors[name]) / np.sqrt(runs)
        assert abs(mean) < 4 * error, name
    # The model makes the estimate steadier.
    assert np.std(errors["doubly_robust"]) < np.std(errors["ips"])


def test_a_wrong_model_leaves_the_doubly_robust_estimate_unbiased():
    errors = [
        estimate_off_policy(world.samples(model=False), resamples=20).doubly_robust.value
        - world.truth
        for world in map(World, range(150))
    ]
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(len(errors))


def test_the_logged_policy_itself_is_worth_what_it_earned():
    ones, rewards = np.ones(5), np.array([1.0, 0, 1, 0, 0])
    samples = LoggedSamples(np.array([0, 0, 1, 1, 2]), rewards, ones, ones, ones * 0.3, ones * 0.3)
    found = estimate_off_policy(samples)
    for estimate in (found.logged, found.ips, found.snips, found.doubly_robust):
        assert estimate.value == pytest.approx(0.4)
    assert samples.effective_size == 5
    none = LoggedSamples(np.arange(5), rewards, ones, ones * 0, ones * 0.3, ones * 0.3)
    found = estimate_off_policy(none)
    assert found.ips.value == 0
    assert found.snips is None
    assert found.doubly_robust.value == pytest.approx(0.3)  # all that is left is the model
    assert none.effective_size == 0
