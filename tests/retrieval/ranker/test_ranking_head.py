"""What every ranking head must do, whatever it learned."""

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
from isthmus.retrieval.ranker.batches import known_of, make_batch, padded
from isthmus.retrieval.ranker.features import make_features
from isthmus.retrieval.ranker.item_statistics import ItemFacts, coarse
from isthmus.retrieval.ranker.network import Batch
from isthmus.retrieval.ranker.ranker import RankingHead
from tests.retrieval.candidates.corpora import FILMS, histories_of, make_corpus, quick_sources

USERS = histories_of([0, 4, 8], [], [25, 29, 33, 37, 1], [2], [], list(range(20)))


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(users=40, items=24)


@pytest.fixture(scope="module")
def facts(corpus):
    return ItemFacts().fit(corpus)


@pytest.fixture(scope="module")
def sources(corpus):
    quick = [source for source in quick_sources() if source.name != "trend"]
    return CandidateGenerators(quick).fit(corpus)


@pytest.fixture(scope="module", params=[0, 1])
def head(request, sources, facts):
    """A head with weights by chance, and popularity and gate by chance too."""
    made = RankingHead.untrained(sources.names, facts.width, members=2, seed=request.param)
    generator = torch.Generator().manual_seed(request.param)
    with torch.no_grad():
        for own in (made.network.popular, made.network.rate):
            own += torch.randn(own.shape, generator=generator)
        made.network.mean += torch.rand(made.network.mean.shape, generator=generator)
        made.network.deviation += torch.rand(made.network.mean.shape, generator=generator)
    made.network.eval()
    return made


def pool_of(corpus, sources, histories, n=10):
    scorers = sources.scorers(corpus, histories, FILMS)
    return candidate_pool(scorers, n, corpus.in_domain(FILMS), histories.seen(len(corpus)))


def lists(pool, scores):
    return np.split(scores, pool.starts[1:-1])


def test_nothing_known_is_the_order_of_popularity(head, corpus, facts, sources):
    disliking = UserHistories.from_lists([np.array([25, 26])], [np.zeros(2, np.float32)])
    for histories in (histories_of([]), disliking):
        pool = pool_of(corpus, sources, histories)
        scores = head.score(corpus, histories, pool, facts, FILMS)
        popularity = facts.popularity(pool.items)
        for one, other in zip(*np.triu_indices(len(scores), 1), strict=True):
            gap = float(popularity[one] - popularity[other])
            assert np.sign(scores[one] - scores[other]) == np.sign(gap)
        np.testing.assert_allclose(scores, head.popularity_part(popularity), rtol=1e-5)


def test_what_is_known_makes_a_difference(head, corpus, facts, sources):
    pool = pool_of(corpus, sources, USERS)
    scores = lists(pool, head.score(corpus, USERS, pool, facts, FILMS))
    parts = lists(pool, head.popularity_part(facts.popularity(pool.items)))
    personal = [float(np.abs(s - p).max()) for s, p in zip(scores, parts, strict=True)]
    for user, own in enumerate(USERS.counts()):
        assert (personal[user] > 1e-3) == (own > 0)


def test_a_user_alone_is_scored_as_in_a_batch(head, corpus, facts, sources):
    pool = pool_of(corpus, sources, USERS)
    together = lists(pool, head.score(corpus, USERS, pool, facts, FILMS))
    for user, expected in enumerate(together):
        own = USERS.take_users(np.array([user]))
        part = slice(pool.starts[user], pool.starts[user + 1])
        alone = replace(
            pool,
            starts=np.array([0, part.stop - part.start]),
            items=pool.items[part],
            scores=pool.scores[:, part],
            ranks=pool.ranks[:, part],
        )
        found = head.score(corpus, own, alone, facts, FILMS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def batch_of(corpus, facts, sources, histories):
    pool = pool_of(corpus, sources, histories)
    found = make_features(corpus, histories, pool, facts, FILMS)
    return make_batch(
        found.values,
        pool.starts,
        found.evidence,
        coarse(facts.contents(corpus, pool.items)),
        known_of(corpus, histories, facts, FILMS),
    )


def scored(head, batch):
    with torch.inference_mode():
        return head.network.score(batch)


def test_what_serves_scores_as_what_is_trained(head, corpus, facts, sources):
    pool = pool_of(corpus, sources, USERS)
    for _ in range(2):  # and again after its weights were changed
        batch = batch_of(corpus, facts, sources, USERS)
        expected = scored(head, batch)[batch.mask].numpy()
        found = head.score(corpus, USERS, pool, facts, FILMS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        head.network.train()
        with torch.no_grad():
            for own in head.network.parameters():
                own *= 1.1
        head.network.eval()


def test_candidates_in_another_order_have_the_same_scores(head, corpus, facts, sources):
    batch = batch_of(corpus, facts, sources, USERS)
    order = torch.randperm(batch.mask.shape[1], generator=torch.Generator().manual_seed(3))
    turned = replace(
        batch,
        features=batch.features[:, order],
        mask=batch.mask[:, order],
        offered=batch.offered[:, order],
    )
    torch.testing.assert_close(
        scored(head, turned), scored(head, batch)[:, order], rtol=1e-4, atol=1e-4
    )


def test_the_order_of_the_history_does_not_matter(head, corpus, facts, sources):
    batch = batch_of(corpus, facts, sources, USERS)
    order = torch.randperm(batch.present.shape[1], generator=torch.Generator().manual_seed(4))
    turned = replace(
        batch,
        known=batch.known[:, order],
        traits=batch.traits[:, order],
        present=batch.present[:, order],
    )
    torch.testing.assert_close(scored(head, turned), scored(head, batch), rtol=1e-4, atol=1e-4)


def test_padding_says_nothing(head, corpus, facts, sources):
    batch = batch_of(corpus, facts, sources, USERS)
    wider = Batch(
        features=torch.nn.functional.pad(batch.features, (0, 0, 0, 3), value=7.0),
        mask=torch.nn.functional.pad(batch.mask, (0, 3)),
        evidence=batch.evidence,
        offered=torch.nn.functional.pad(batch.offered, (0, 0, 0, 3), value=1.0),
        known=torch.nn.functional.pad(batch.known, (0, 0, 0, 5), value=1.0),
        traits=torch.nn.functional.pad(batch.traits, (0, 0, 0, 5), value=9.0),
        present=torch.nn.functional.pad(batch.present, (0, 5)),
    )
    found = scored(head, wider)
    torch.testing.assert_close(found[:, :-3], scored(head, batch), rtol=1e-4, atol=1e-4)
    assert torch.isneginf(found[:, -3:]).all()


def test_users_without_a_history_have_a_finite_gradient(head, corpus, facts, sources):
    batch = batch_of(corpus, facts, sources, USERS)
    scores = head.network(batch)
    scores[:, batch.mask].sum().backward()
    for name, parameter in head.network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    head.network.zero_grad()


def test_what_was_kept_scores_alike(head, corpus, facts, sources):
    kept = {key: np.array(value) for key, value in head.state().items()}
    restored = RankingHead.restored(head.description(), kept)
    assert restored.description() == head.description()
    pool = pool_of(corpus, sources, USERS)
    one, other = (h.score(corpus, USERS, pool, facts, FILMS) for h in (head, restored))
    assert one.tolist() == other.tolist()


def test_a_pool_of_other_sources_is_refused(head, corpus, facts):
    others = CandidateGenerators(quick_sources()[:2]).fit(corpus)
    pool = pool_of(corpus, others, USERS)
    with pytest.raises(InvalidInput) as refused:
        head.score(corpus, USERS, pool, facts, FILMS)
    said = str(refused.value)
    assert said.startswith("the head was trained with candidates from popularity, item-KNN")
    assert said.endswith("these come from popularity, trend: train anew with: isthmus train")


def test_nothing_to_rank_is_no_score(head, corpus, facts, sources):
    histories = histories_of([0], [])
    scorers = sources.scorers(corpus, histories, FILMS)
    none = np.zeros(len(corpus), bool)
    pool = candidate_pool(scorers, 5, none, histories.seen(len(corpus)))
    assert head.score(corpus, histories, pool, facts, FILMS).tolist() == []


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 4))
def test_rows_are_filled_up_with_zeros(lengths, first):
    starts = first + np.cumsum([0, *lengths])
    values = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    rows = padded(values, starts).tolist()
    numbers = iter(values.tolist())
    assert rows == [[next(numbers) for _ in range(n)] + [0.0] * (max(lengths) - n) for n in lengths]
