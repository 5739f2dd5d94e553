"""A filter is evaluated once per segment; after an upsert only for the new items."""

from __future__ import annotations

import pytest

from isthmus import Space
from isthmus.errors import InvalidFilter
from isthmus.index.catalog.snapshot import Snapshot
from tests.toy import item, two_encoders


@pytest.fixture
def filled(space):
    space.upsert([item(f"i{n}", f"word{n}", "ab"[n % 2], stock=n % 4) for n in range(40)])
    space.upsert([item("gone", "word", "a", stock=9)])
    space.publish()
    space.upsert([item("i3", "word3", "b", stock=0), item("late", "word", "a", stock=3)])
    space.delete("gone")
    return space


@pytest.fixture
def evaluated(monkeypatch):
    """The filters that the table engine evaluated."""
    calls = []
    for name in ("select", "select_from"):
        real = getattr(Snapshot, name)

        def spy(self, where, *rest, real=real, name=name):
            calls.append((name, where))
            return real(self, where, *rest)

        monkeypatch.setattr(Snapshot, name, spy)
    return calls


def test_a_repeated_filter_is_evaluated_once_per_segment(filled, evaluated):
    space = Space.open(filled.path, encoder=two_encoders())
    segments = len(space.opened.view().segments)
    for _ in range(3):
        space.search("word", where="stock > 1")
        space.count("a", where="stock > 1")
    # Once for all domains and once for those of `a`, where names may mean other attributes.
    assert len(evaluated) == 2 * segments == 4


def test_after_an_upsert_only_new_items_are_filtered(filled, evaluated):
    before = {h.item_id for h in filled.search("word", k=99, where="stock > 1")}
    assert "gone" not in before
    assert "i3" not in before
    del evaluated[:]
    filled.upsert([item("extra", "word", "a", stock=3), item("i2", "word2", "a", stock=0)])
    found = {h.item_id for h in filled.search("word", k=99, where="stock > 1")}
    assert found == before - {"i2"} | {"extra"}
    assert evaluated == [("select_from", "stock > 1")] * 2  # the rows of i2 and of extra


def test_a_filter_that_depends_on_the_time_is_never_cached(filled, evaluated):
    for _ in range(2):
        assert filled.count(where="now() > timestamp '2020-01-01 00:00:00'") == 41
    assert len(evaluated) == 2 * len(filled.opened.view().segments)


@pytest.mark.parametrize("where", [5, ["stock > 1"], {"stock": 1}])
def test_a_filter_that_is_no_text_is_refused(filled, where):
    with pytest.raises(InvalidFilter, match="The columns are"):
        filled.search("word", where=where)
