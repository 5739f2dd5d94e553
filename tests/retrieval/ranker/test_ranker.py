"""What every ranker must do, whatever its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.batches import history_inputs, make_batch, padded
from isthmus.retrieval.ranker.features import FeatureInputs, compute_features, feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics, coarse
from isthmus.retrieval.ranker.network import Batch
from isthmus.retrieval.ranker.ranker import Ranker
from tests.retrieval.candidates.toy_data import (
    FILMS,
    histories_of,
    make_training_data,
    quick_generators,
)

USERS = histories_of([0, 4, 8], [], [25, 29, 33, 37, 1], [2], [], list(range(20)))


@pytest.fixture(scope="module")
def corpus():
    return make_training_data(users=40, items=24)


@pytest.fixture(scope="module")
def statistics(corpus):
    return ItemStatistics().fit(corpus)


@pytest.fixture(scope="module")
def sources(corpus):
    quick = [source for source in quick_generators() if source.name != "trend"]
    return CandidateGenerators(quick).fit(corpus)


@pytest.fixture(scope="module", params=[0, 1])
def ranker(request, sources, statistics):
    """A ranker with random weights, popularity weights and gates."""
    made = Ranker.untrained(sources.names, statistics.coarse_dim, members=2, seed=request.param)
    generator = torch.Generator().manual_seed(request.param)
    with torch.no_grad():
        for parameter in (made.network.popularity_weight, made.network.gate_rate):
            parameter += torch.randn(parameter.shape, generator=generator)
        made.network.mean += torch.rand(made.network.mean.shape, generator=generator)
        made.network.deviation += torch.rand(made.network.mean.shape, generator=generator)
    made.network.eval()
    return made


def pool_of(corpus, sources, histories, n=10):
    scorers = sources.scorers(corpus, histories, FILMS)
    return candidate_pool(scorers, n, corpus.in_domain(FILMS), histories.seen(len(corpus)))


def lists(pool, scores):
    return np.split(scores, pool.starts[1:-1])


def test_unknown_users_get_the_order_of_popularity(ranker, corpus, statistics, sources):
    disliking = UserHistories.from_lists([np.array([25, 26])], [np.zeros(2, np.float32)])
    for histories in (histories_of([]), disliking):
        pool = pool_of(corpus, sources, histories)
        scores = ranker.score(corpus, histories, pool, statistics, FILMS)
        popularity = statistics.popularity(pool.items)
        for one, other in zip(*np.triu_indices(len(scores), 1), strict=True):
            gap = float(popularity[one] - popularity[other])
            assert np.sign(scores[one] - scores[other]) == np.sign(gap)
        np.testing.assert_allclose(scores, ranker.popularity_part(popularity), rtol=1e-5)


def test_a_history_changes_the_scores(ranker, corpus, statistics, sources):
    pool = pool_of(corpus, sources, USERS)
    scores = lists(pool, ranker.score(corpus, USERS, pool, statistics, FILMS))
    parts = lists(pool, ranker.popularity_part(statistics.popularity(pool.items)))
    personal = [float(np.abs(s - p).max()) for s, p in zip(scores, parts, strict=True)]
    for user, count in enumerate(USERS.counts()):
        assert (personal[user] > 1e-3) == (count > 0)


def test_a_user_alone_is_scored_as_in_a_batch(ranker, corpus, statistics, sources):
    pool = pool_of(corpus, sources, USERS)
    together = lists(pool, ranker.score(corpus, USERS, pool, statistics, FILMS))
    for user, expected in enumerate(together):
        one_user = USERS.take_users(np.array([user]))
        part = slice(pool.starts[user], pool.starts[user + 1])
        alone = replace(
            pool,
            starts=np.array([0, part.stop - part.start]),
            items=pool.items[part],
            scores=pool.scores[:, part],
            ranks=pool.ranks[:, part],
        )
        found = ranker.score(corpus, one_user, alone, statistics, FILMS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def batch_of(corpus, statistics, sources, histories):
    pool = pool_of(corpus, sources, histories)
    found = compute_features(
        FeatureInputs(corpus, histories, pool, statistics, FILMS), feature_columns(pool.generators)
    )
    return make_batch(
        found.values,
        pool.starts,
        found.evidence,
        coarse(statistics.contents(corpus, pool.items)),
        history_inputs(corpus, histories, statistics, FILMS),
    )


def scored(ranker, batch):
    with torch.inference_mode():
        return ranker.network.score(batch)


def test_the_fused_network_scores_like_the_trained_one(ranker, corpus, statistics, sources):
    pool = pool_of(corpus, sources, USERS)
    for _ in range(2):  # and again after its weights were changed
        batch = batch_of(corpus, statistics, sources, USERS)
        expected = scored(ranker, batch)[batch.mask].numpy()
        found = ranker.score(corpus, USERS, pool, statistics, FILMS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        ranker.network.train()
        with torch.no_grad():
            for parameter in ranker.network.parameters():
                parameter *= 1.1
        ranker.network.eval()


def test_candidates_in_another_order_have_the_same_scores(ranker, corpus, statistics, sources):
    batch = batch_of(corpus, statistics, sources, USERS)
    order = torch.randperm(batch.mask.shape[1], generator=torch.Generator().manual_seed(3))
    turned = replace(
        batch,
        features=batch.features[:, order],
        mask=batch.mask[:, order],
        candidate_contents=batch.candidate_contents[:, order],
    )
    torch.testing.assert_close(
        scored(ranker, turned), scored(ranker, batch)[:, order], rtol=1e-4, atol=1e-4
    )


def test_the_order_of_the_history_does_not_matter(ranker, corpus, statistics, sources):
    batch = batch_of(corpus, statistics, sources, USERS)
    order = torch.randperm(batch.history_mask.shape[1], generator=torch.Generator().manual_seed(4))
    turned = replace(
        batch,
        history_contents=batch.history_contents[:, order],
        history_traits=batch.history_traits[:, order],
        history_mask=batch.history_mask[:, order],
    )
    torch.testing.assert_close(scored(ranker, turned), scored(ranker, batch), rtol=1e-4, atol=1e-4)


def test_padding_does_not_matter(ranker, corpus, statistics, sources):
    batch = batch_of(corpus, statistics, sources, USERS)
    wider = Batch(
        features=torch.nn.functional.pad(batch.features, (0, 0, 0, 3), value=7.0),
        mask=torch.nn.functional.pad(batch.mask, (0, 3)),
        evidence=batch.evidence,
        candidate_contents=torch.nn.functional.pad(
            batch.candidate_contents, (0, 0, 0, 3), value=1.0
        ),
        history_contents=torch.nn.functional.pad(batch.history_contents, (0, 0, 0, 5), value=1.0),
        history_traits=torch.nn.functional.pad(batch.history_traits, (0, 0, 0, 5), value=9.0),
        history_mask=torch.nn.functional.pad(batch.history_mask, (0, 5)),
    )
    found = scored(ranker, wider)
    torch.testing.assert_close(found[:, :-3], scored(ranker, batch), rtol=1e-4, atol=1e-4)
    assert torch.isneginf(found[:, -3:]).all()


def test_users_without_a_history_have_a_finite_gradient(ranker, corpus, statistics, sources):
    batch = batch_of(corpus, statistics, sources, USERS)
    scores = ranker.network(batch)
    scores[:, batch.mask].sum().backward()
    for name, parameter in ranker.network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    ranker.network.zero_grad()


def test_a_restored_ranker_has_the_same_scores(ranker, corpus, statistics, sources):
    kept = {key: np.array(value) for key, value in ranker.state().items()}
    restored = Ranker.restored(ranker.description(), kept)
    assert restored.description() == ranker.description()
    pool = pool_of(corpus, sources, USERS)
    one, other = (h.score(corpus, USERS, pool, statistics, FILMS) for h in (ranker, restored))
    assert one.tolist() == other.tolist()


def test_a_pool_of_other_generators_is_refused(ranker, corpus, statistics):
    others = CandidateGenerators(quick_generators()[:2]).fit(corpus)
    pool = pool_of(corpus, others, USERS)
    with pytest.raises(InvalidInput) as refused:
        ranker.score(corpus, USERS, pool, statistics, FILMS)
    message = str(refused.value)
    assert message.startswith(
        "the ranker was trained with other candidate generators: there is no 'item-KNN"
    )
    assert message.endswith("it does not know 'trend'; train again with: isthmus train")


def test_an_empty_pool_has_no_scores(ranker, corpus, statistics, sources):
    histories = histories_of([0], [])
    scorers = sources.scorers(corpus, histories, FILMS)
    none = np.zeros(len(corpus), bool)
    pool = candidate_pool(scorers, 5, none, histories.seen(len(corpus)))
    assert ranker.score(corpus, histories, pool, statistics, FILMS).tolist() == []


def test_the_order_of_generators_does_not_matter(ranker, corpus, statistics, sources):
    pool = pool_of(corpus, sources, USERS)
    expected = ranker.score(corpus, USERS, pool, statistics, FILMS)
    turned = replace(
        pool, generators=pool.generators[::-1], scores=pool.scores[::-1], ranks=pool.ranks[::-1]
    )
    found = ranker.score(corpus, USERS, turned, statistics, FILMS)
    np.testing.assert_array_equal(found, expected)


def test_a_ranker_reads_the_features_that_it_was_trained_with(corpus, statistics, sources):
    """Whatever else the registry computes, in whatever order."""
    pool = pool_of(corpus, sources, USERS)
    columns = feature_columns(sources.names)
    kept = [name for name in columns if not name.startswith(("user:", "numeric:"))][::-1]
    small = Ranker.untrained(sources.names, statistics.coarse_dim, members=1, columns=kept)
    small.network.eval()
    inputs = FeatureInputs(corpus, USERS, pool, statistics, FILMS)
    whole, some = compute_features(inputs, columns), compute_features(inputs, kept)
    for at, name in enumerate(kept):
        np.testing.assert_array_equal(some.values[:, at], whole.values[:, columns.index(name)])
    found = small.score(corpus, USERS, pool, statistics, FILMS)
    np.testing.assert_array_equal(found, small.score_features(some, inputs))


def test_an_unknown_feature_is_named(ranker):
    description = ranker.description()
    description["features"][3] = "item: colour"
    with pytest.raises(InvalidInput, match="no feature 'item: colour' in this version"):
        Ranker.restored(description, ranker.state())


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 4))
def test_rows_are_padded_with_zeros(lengths, first):
    starts = first + np.cumsum([0, *lengths])
    values = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    rows = padded(values, starts).tolist()
    numbers = iter(values.tolist())
    assert rows == [[next(numbers) for _ in range(n)] + [0.0] * (max(lengths) - n) for n in lengths]
