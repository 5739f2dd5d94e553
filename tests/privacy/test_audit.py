"""A one-run audit of the sums, and membership attacks on recommenders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from isthmus.privacy import statistics
from isthmus.privacy.contributions import unit_rows
from isthmus.privacy.statistics import mechanisms_for, release_statistics
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.private_ease import PrivateEASE
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.recommend.private_training import train_private
from isthmus.retrieval.recommend.settings import RecommenderSettings
from tests.privacy.audit import auc, proven_epsilon
from tests.retrieval.candidates.toy_data import make_training_data

CANARIES, ITEMS_EACH = 200, 4
EPSILON, DELTA = 3.0, 1e-6

pytestmark = pytest.mark.usefixtures("same_noise")


@pytest.fixture
def canaries() -> tuple[csr_array, np.ndarray]:
    """Users who share no item with another, half of them included."""
    rows = np.repeat(np.arange(CANARIES), ITEMS_EACH)
    ones = np.ones(len(rows), np.float32)
    matrix = csr_array((ones, (rows, np.arange(len(rows)))))
    return matrix, np.random.default_rng(1).random(CANARIES) < 0.5


def audited(canaries: csr_array, included: np.ndarray) -> float:
    """Release the sums of the included canaries, and score each canary by what it would add."""
    present = canaries[np.flatnonzero(included)]
    names = [f"canary {number}" for number in range(present.shape[0])]
    sums = release_statistics(present, names, mechanisms_for(EPSILON, DELTA))
    assert len(sums.items) == canaries.shape[1]
    rows = unit_rows(canaries).toarray()
    by_gram = np.einsum("ui,ij,uj->u", rows, sums.gram, rows) / sums.gram_noise
    by_popularity = rows @ sums.popularity / sums.popularity_noise
    return proven_epsilon(by_gram + by_popularity, included)


def test_the_audit_proves_no_more_than_what_is_claimed(canaries):
    assert audited(*canaries) < EPSILON


def test_the_audit_catches_a_build_without_noise(canaries, monkeypatch):
    monkeypatch.setattr(statistics, "gaussian", lambda *shape: np.zeros(shape))
    monkeypatch.setattr(statistics, "symmetric_gaussian", lambda n: np.zeros((n, n)))
    assert audited(*canaries) > EPSILON


def test_the_audit_catches_a_tenth_of_the_noise(canaries, monkeypatch):
    for name in ("gaussian", "symmetric_gaussian"):
        whole = getattr(statistics, name)
        monkeypatch.setattr(statistics, name, lambda *shape, whole=whole: whole(*shape) / 10)
    assert audited(*canaries) > EPSILON


def membership(generator: CandidateGenerator, data, members: int) -> tuple[float, float]:
    """Attack by how a model scores the pairs of items of each user, the first being members."""
    rows = [
        data.interactions.columns[start:end]
        for start, end in zip(data.interactions.starts, data.interactions.starts[1:], strict=False)
    ]
    scores = np.zeros(len(rows))
    for user, items in enumerate(rows):
        alone = UserHistories.from_lists([items[[at]] for at in range(len(items))])
        for target in range(2):
            scorer = generator.scorer(data, alone, target)
            pairs = np.repeat(np.arange(len(items)), len(items)), np.tile(items, len(items))
            scores[user] += scorer.score_pairs(*pairs).mean()
    return auc(scores[:members], scores[members:])


def test_membership_is_inferred_without_privacy_and_not_with_it():
    everybody = make_training_data(users=240, items=150, seed=4)
    half = everybody.interactions.starts[120]
    data = everybody.without_entries(np.arange(len(everybody.interactions)) >= half)
    public, chance = membership(ItemKNN(k=None).fit(data), everybody, 120)
    assert public > 0.5 + 3 * chance
    trained = train_private(
        data, RecommenderSettings(), mechanisms_for(EPSILON, DELTA), ["books", "films"]
    )
    generators = [one for one in trained.recommender.generators if isinstance(one, PrivateEASE)]
    assert len(generators) == 2
    for generator in generators:
        private, chance = membership(generator, everybody, 120)
        assert abs(private - 0.5) <= chance
