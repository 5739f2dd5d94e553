"""The interactions cached in memory equal those on disk, whichever process wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus.data.interactions.store as module
from isthmus.data.interactions.store import InteractionStore
from tests.data.interactions.test_deduplication import ROW, add, row

USERS = ["b", "nobody", "a"]
JOBS = st.one_of(
    st.lists(ROW, max_size=8), st.sampled_from(["forget a", "forget b", "compact", "undo"])
)


@pytest.fixture(scope="module", autouse=True)
def cache_at_once():
    original = module.READ_SECONDS_PER_ROW
    module.READ_SECONDS_PER_ROW = 0.0
    yield
    module.READ_SECONDS_PER_ROW = original


def do(store, job):
    """Add rows, or change the table otherwise, by a store of its own."""
    if isinstance(job, list):
        add(store, job)
    elif job.startswith("forget"):
        store.delete_user(job.split()[1])
    elif job == "undo" and store.version > 1:
        table = store._writable()
        table.checkout_version(table.version - 1).restore()
    elif job == "compact" and store.version:
        store._writable().optimize.compact_files(materialize_deletions_threshold=0.0)


@settings(max_examples=40)
@given(jobs=st.lists(JOBS, min_size=1, max_size=6))
def test_cached_interactions_equal_the_table_on_disk(tmp_path_factory, jobs):
    folder = tmp_path_factory.mktemp("s")
    cached_store = InteractionStore(folder)
    add(cached_store, [row(1.0, user_id="a")])
    cached_store.of_users(["a"])
    for job in jobs:
        do(InteractionStore(folder), job)
        for users in (USERS, ["a"], ["a", "a"], []):
            expected = InteractionStore(folder).of_users(users)  # a new store reads from the disk
            assert cached_store.of_users(users).to_pylist() == expected.to_pylist()
            assert cached_store.of_users(users).schema == expected.schema
    assert cached_store._cache is not None


def test_a_table_that_is_too_large_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED_ROWS", 2)
    store = InteractionStore(tmp_path)
    add(store, [row(1.0), row(2.0, item_id="j")])
    for is_cached in (False, True, True):
        assert len(store.of_users(["u"])) == 2
        assert (store._cache is not None) == is_cached
    add(store, [row(3.0, item_id="k")])
    for _ in range(2):
        assert len(store.of_users(["u"])) == 3
        assert store._cache is None
