"""Lists of a trained recommender: longer ones begin with the shorter, equal items are equal."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Interaction, User
from isthmus.retrieval.candidates.content_graph import content_graph
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.recommend.serving import _content_graph
from tests.retrieval.recommend.test_freshness import USERS, copy_of
from tests.retrieval.recommend.worlds import name

DISLIKING = User(history=[Interaction(name("films", 1, 0)), Interaction(name("films", 1, 1), -1.0)])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "domain": st.sampled_from(["films", "books", ["books", "films"]]),
        "diversity": st.sampled_from([0.3, 0.9]),
        "quotas": st.sampled_from([{"films": 0.5, "books": 0.5}, {"books": 0.3}, {"films": 1}]),
    },
)


@settings(max_examples=40)
@given(st.sampled_from([*USERS, DISLIKING]), OPTIONS, st.integers(1, 30), st.integers(1, 40))
def test_a_longer_list_begins_with_the_shorter_one(board, user, options, short, more):
    if options.get("domain") in ("films", "books"):
        options = {o: v for o, v in options.items() if o != "quotas"}
    first = board.recommend(user, k=short, **options)
    whole = board.recommend(user, k=short + more, **options)
    assert [(h.item_id, h.score) for h in whole[:short]] == [(h.item_id, h.score) for h in first]


def test_lists_of_concurrent_requests_are_those_of_each_alone(board, monkeypatch):
    """While one list is made the others wait, and are made together, to the last digit alike."""
    people = [*USERS, DISLIKING, *(User(id=f"u{n}") for n in range(11))]

    def ask(user):
        return [(hit.item_id, hit.score) for hit in board.recommend(user, domain="books", k=9)]

    alone, sizes, waiting = [ask(user) for user in people], [], threading.Event()
    batcher = board._recommender._together
    work = batcher._work

    def held(queries):
        sizes.append(len(queries))
        assert waiting.wait(60)
        return work(queries)

    monkeypatch.setattr(batcher, "_work", held)
    with ThreadPoolExecutor(len(people)) as threads:
        asked = [threads.submit(ask, user) for user in people]
        end = time.monotonic() + 60
        while batcher.waiting < len(people) - 1:
            assert time.monotonic() < end
            time.sleep(0.001)
        waiting.set()
        assert [future.result() for future in asked] == alone
    assert sizes == [1, len(people) - 1]


@pytest.fixture
def with_twins(copied):
    """Thirty new films with one text, a copy of an item, and a domain that no ranker knows."""
    space = copied()
    films = [copy_of(name("films", 4, 2), f"twin{n:02}") for n in range(30)]
    space.upsert([*films[1::2], *films[::2]])
    space.upsert([{**item, "item_id": item["item_id"].replace("twin", "new"), "domain": "songs"}
                  for item in films[:9]])  # fmt: skip
    return space


@pytest.mark.parametrize("user", [*USERS, DISLIKING])
@pytest.mark.parametrize("domain", ["films", "songs", None])
def test_equal_items_have_equal_scores_in_the_order_of_their_ids(with_twins, user, domain):
    for k in (15, 60, 180):
        hits = with_twins.recommend(user, domain=domain, k=k)
        for kind in ("twin", "new"):
            equal = [(hit.score, hit.item_id) for hit in hits if hit.item_id.startswith(kind)]
            assert len({score for score, _ in equal}) <= 1
            assert [item_id for _, item_id in equal] == sorted(item_id for _, item_id in equal)
    assert len(equal) == (0 if domain == "films" else 9)


def test_a_new_item_that_is_a_learned_one_nobody_used_has_its_neighbours():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((30, 8)).astype(np.float32)
    vectors[[27, 28, 29]] = vectors[[4, 5, 6]]  # 4 has interactions; 29 is of another domain
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    domains = np.zeros(30, np.int64)
    domains[29] = 1
    learned = content_graph(InMemoryItemFeatures(vectors[:27]), domains[:27])
    statistics = SimpleNamespace(popularity=lambda items: (items == 4).astype(np.float32))
    recommender = SimpleNamespace(
        content_graph=learned, domains=domains[:27], statistics=statistics
    )
    graph = _content_graph(recommender, InMemoryItemFeatures(vectors), domains[27:]).toarray()
    np.testing.assert_array_equal(graph[:27, :27], learned.toarray())
    np.testing.assert_array_equal(graph[28], graph[5])
    assert graph[27].argmax() == 4
    assert not graph[29].any()
