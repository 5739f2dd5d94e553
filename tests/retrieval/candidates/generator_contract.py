"""The contract of candidate generators: tests that every generator runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import (
    BOOKS,
    FILMS,
    SONGS,
    histories_of,
    make_training_data,
    make_vectors,
)

ITEMS, NEW = 24, 6
LEARNED = 2 * ITEMS
USERS = histories_of([0, 4, 8], [25, 29, 33, 37], [], [3, 27, 40, 41], [7], [48, 50], [0, 25, 52])


def best(generator, data, histories, target, n=1000, allowed=None):
    """Return the items and the scores of each user's list."""
    inside = data.in_domain(target)
    allowed = inside if allowed is None else inside & allowed
    found = generator.scorer(data, histories, target).top_k(n, allowed, histories.seen(len(data)))
    ends = found.starts[1:-1]
    return list(zip(np.split(found.items, ends), np.split(found.scores, ends), strict=True))


def pairs(generator, data, histories, target):
    """Return the scores of all pairs, shape (n_users, n_items)."""
    users, items = np.divmod(np.arange(len(histories) * len(data)), len(data))
    scores = generator.scorer(data, histories, target).score_pairs(users, items)
    return scores.reshape(len(histories), len(data))


def assert_same_lists(one, other):
    """Check that lists are the same, up to rounding."""
    for (items, scores), (others, those) in zip(one, other, strict=True):
        assert sorted(items.tolist()) == sorted(others.tolist())
        np.testing.assert_allclose(scores, those, rtol=1e-4, atol=1e-5)


class CandidateGeneratorContract(ABC):
    """Tests of one generator; a subclass named ``Test...`` makes it.

    Attributes
    ----------
    ignores_new_items : bool
        Whether items of a history that are newer than the fit change no score.
    uses_content_graph : bool
        Whether scores of old items depend on the content of new ones.
    """

    ignores_new_items: ClassVar[bool] = False
    uses_content_graph: ClassVar[bool] = False

    @abstractmethod
    def make(self) -> CandidateGenerator:
        """Return the generator, unfitted, with hyperparameters that are fitted in a moment."""

    @pytest.fixture(scope="class")
    def learned(self):
        return make_training_data(items=ITEMS)

    @pytest.fixture(scope="class")
    def grown(self):
        """The same data with six items more, which were not there at the fit."""
        return make_training_data(items=ITEMS, new=NEW)

    @pytest.fixture(scope="class")
    def generator(self, request, learned):
        return request.cls().make().fit(learned)

    @pytest.mark.parametrize("target", [BOOKS, FILMS])
    def test_scores_of_pairs_are_those_of_the_lists(self, generator, grown, target):
        table = pairs(generator, grown, USERS, target)
        for user, (items, scores) in enumerate(best(generator, grown, USERS, target)):
            np.testing.assert_allclose(table[user, items], scores, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("n", [1, 5, 1000])
    @pytest.mark.parametrize("target", [BOOKS, FILMS])
    def test_lists_are_sorted_and_hold_allowed_unseen_items(self, generator, grown, target, n):
        allowed = np.arange(len(grown)) % 3 != 0
        lists = best(generator, grown, USERS, target, n, allowed)
        assert len(lists) == len(USERS)
        for user, (items, scores) in enumerate(lists):
            history = USERS.columns[USERS.starts[user] : USERS.starts[user + 1]]
            assert len(items) <= n
            assert len(set(items.tolist())) == len(items)
            assert allowed[items].all()
            assert (grown.domains[items] == target).all()
            assert not np.isin(items, history).any()
            assert (np.diff(scores) <= 0).all()
            assert np.isfinite(scores).all()

    def test_a_short_list_is_the_beginning_of_a_long_one(self, generator, grown):
        for short, long in zip(
            best(generator, grown, USERS, FILMS, 4),
            best(generator, grown, USERS, FILMS),
            strict=True,
        ):
            np.testing.assert_allclose(short[1], long[1][:4], rtol=1e-4, atol=1e-5)
            assert len(short[0]) == min(4, len(long[0]))

    def test_the_best_of_a_list_are_the_best_of_all_pairs(self, generator, grown):
        table = pairs(generator, grown, USERS, FILMS)
        for user, (items, scores) in enumerate(best(generator, grown, USERS, FILMS, 3)):
            if not len(items):
                continue
            table[user, USERS.columns[USERS.starts[user] : USERS.starts[user + 1]]] = -np.inf
            left = np.sort(table[user][grown.in_domain(FILMS)])[::-1][: len(items)]
            np.testing.assert_allclose(scores, left, rtol=1e-4, atol=1e-5)

    def test_an_empty_domain_has_nothing(self, generator, grown):
        assert [len(items) for items, _ in best(generator, grown, USERS, SONGS)] == [0] * len(USERS)

    def test_no_users_get_no_lists(self, generator, grown):
        found = generator.scorer(grown, histories_of(), BOOKS).top_k(
            3, grown.in_domain(BOOKS), histories_of().seen(len(grown))
        )
        assert [len(part) for part in found] == [1, 0, 0]

    def test_cold_start_users_have_the_same_scores_anywhere_in_a_batch(self, generator, grown):
        many = histories_of([], [0, 4], [], [25])
        table = pairs(generator, grown, many, FILMS)
        assert np.isfinite(table).all()
        np.testing.assert_allclose(table[0], table[2], atol=1e-6)

    def test_histories_may_hold_items_that_are_newer_than_the_fit(self, generator, grown):
        table = pairs(generator, grown, histories_of([48, 50], [0, 48], [0]), FILMS)
        assert np.isfinite(table).all()
        if self.ignores_new_items:
            np.testing.assert_allclose(table[1], table[2], atol=1e-6)

    def test_new_items_do_not_change_the_scores_of_others(self, generator, learned, grown):
        if self.uses_content_graph:
            return  # old items may be similar to new ones
        known = histories_of([0, 4, 8], [25, 29], [])
        old, both = pairs(generator, learned, known, FILMS), pairs(generator, grown, known, FILMS)
        np.testing.assert_allclose(both[:, :LEARNED], old, rtol=1e-4, atol=1e-5)

    def test_caches_are_not_used_for_other_new_items(self, generator, grown):
        """Other new items, as many; and those of the two domains change places."""
        vectors = grown.features.vectors.copy()
        vectors[LEARNED:] = make_vectors(200)[200 - NEW :]
        domains = grown.domains.copy()
        domains[LEARNED:] = 1 - domains[LEARNED:]
        other = replace(
            grown, domains=domains, features=InMemoryItemFeatures(vectors), _content_graph=[]
        )
        fresh = self.make()
        fresh.restore(generator.state())
        for target in (BOOKS, FILMS):
            pairs(generator, grown, USERS, target), best(generator, grown, USERS, target)
            assert (
                pairs(generator, other, USERS, target).tolist()
                == pairs(fresh, other, USERS, target).tolist()
            )
            for (items, _), (others, _) in zip(
                best(generator, other, USERS, target),
                best(fresh, other, USERS, target),
                strict=True,
            ):
                assert items.tolist() == others.tolist()

    def test_the_order_of_a_history_does_not_matter(self, generator, grown):
        one = UserHistories.from_lists(
            [np.array([3, 27, 40])], [np.array([1.0, 0.5, 0.2], np.float32)]
        )
        other = UserHistories.from_lists(
            [np.array([40, 3, 27])], [np.array([0.2, 1.0, 0.5], np.float32)]
        )
        for target in (BOOKS, FILMS):
            first, second = (pairs(generator, grown, history, target) for history in (one, other))
            assert first.tolist() == second.tolist()

    def test_items_that_were_seen_and_not_liked_only_are_excluded(self, generator, grown):
        strengths = np.array([1.0, 0.0, 1.0, 0.0], np.float32)
        seen = UserHistories.from_lists([np.array([0, 4, 29, 33])], [strengths])
        liked = histories_of([0, 29])
        for target in (BOOKS, FILMS):
            np.testing.assert_allclose(
                pairs(generator, grown, seen, target),
                pairs(generator, grown, liked, target),
                atol=1e-6,
            )
            assert not np.isin(best(generator, grown, seen, target)[0][0], [4, 33]).any()

    def test_a_user_who_liked_nothing_is_a_cold_start_user(self, generator, grown):
        disliking = UserHistories.from_lists([np.array([0, 29])], [np.zeros(2, np.float32)])
        np.testing.assert_allclose(
            pairs(generator, grown, disliking, FILMS),
            pairs(generator, grown, histories_of([]), FILMS),
            atol=1e-6,
        )  # fmt: skip

    def test_a_batch_has_the_lists_of_its_users_one_by_one(self, generator, grown):
        for target in (BOOKS, FILMS):
            together = best(generator, grown, USERS, target)
            alone = [
                best(generator, grown, USERS.take_users(np.array([user])), target)[0]
                for user in range(len(USERS))
            ]
            assert_same_lists(together, alone)

    def test_equal_seeds_fit_equal_states(self, generator, learned):
        again = self.make()
        state, other = generator.state(), again.fit(learned).state()
        assert state.keys() == other.keys()
        for key, value in state.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)

    def test_a_restored_state_has_the_same_lists(self, generator, grown):
        fresh = self.make()
        state = {key: np.array(value) for key, value in generator.state().items()}
        restored = fresh.restore(state)
        assert restored.settings() == generator.settings()
        for target in (BOOKS, FILMS, SONGS):
            for (items, scores), (others, those) in zip(
                best(generator, grown, USERS, target),
                best(restored, grown, USERS, target),
                strict=True,
            ):
                assert items.tolist() == others.tolist()
                assert scores.tolist() == those.tolist()

    def test_it_is_fitted_without_interactions(self):
        fresh = self.make()
        data = make_training_data(users=0, items=8)
        lists = best(fresh.fit(data), data, histories_of([1], []), BOOKS)
        assert 1 not in lists[0][0].tolist()
        assert all(np.isfinite(scores).all() for _, scores in lists)

    def test_it_is_fitted_without_times_and_without_content(self):
        fresh = self.make()
        data = make_training_data(items=12)
        matrix = replace(data.interactions, moments=np.full(len(data.interactions), np.nan))
        bare = replace(
            data,
            interactions=matrix,
            features=InMemoryItemFeatures(np.zeros_like(data.features.vectors)),
            _content_graph=[],
        )
        fresh.fit(bare)
        for items, scores in best(fresh, bare, histories_of([0, 4], []), FILMS):
            assert np.isfinite(scores).all()
            assert len(items) == len(scores)

    @settings(
        max_examples=15,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(st.lists(st.lists(st.integers(0, LEARNED + NEW - 1), unique=True, max_size=8),
                    max_size=4),
           st.integers(1, 60))  # fmt: skip
    def test_any_histories_are_answered_by_the_contract(self, generator, grown, lists, n):
        histories = histories_of(*lists)
        allowed = grown.in_domain(BOOKS)
        scorer = generator.scorer(grown, histories, BOOKS)
        found = scorer.top_k(n, allowed, histories.seen(len(grown)))
        assert len(found.starts) == len(lists) + 1
        assert np.diff(found.starts).max(initial=0) <= n
        owners = np.repeat(np.arange(len(lists)), np.diff(found.starts))
        np.testing.assert_allclose(
            scorer.score_pairs(owners, found.items), found.scores, rtol=1e-4, atol=1e-5
        )
        for user, history in enumerate(lists):
            part = found.items[found.starts[user] : found.starts[user + 1]].tolist()
            assert len(set(part)) == len(part)
            assert not set(part) & set(history)
            assert allowed[part].all()
