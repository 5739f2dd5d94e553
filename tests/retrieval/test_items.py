"""Items by id: read many, list ids, delete by id, file and filter."""

from __future__ import annotations

import pytest

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput, ItemNotFound
from tests.toy import item, two_encoders


@pytest.fixture
def filled(space):
    space.upsert([item(f"f{n}", f"word{n}", n=n) for n in range(6)])
    space.upsert([item(f"b{n}", f"word{n}", "books", n=n) for n in range(4)])
    return space


def test_several_items_come_in_the_requested_order(filled):
    items = filled.get(["b1", "f3", "b1"])
    assert [one["item_id"] for one in items] == ["b1", "f3", "b1"]
    assert items[1] == filled.get("f3")
    assert filled.get([]) == []


def test_all_unknown_items_are_named(filled):
    with pytest.raises(ItemNotFound, match="no items x, y in this space"):
        filled.get(["f1", "x", "y"])


def test_ids_are_those_that_a_filter_selects(filled):
    assert sorted(filled.ids()) == sorted([f"f{n}" for n in range(6)] + [f"b{n}" for n in range(4)])
    assert set(filled.ids("films", where="n > 3")) == {"f4", "f5"}
    assert set(filled.ids(["films", "books"], where="n = 0 OR n = 3")) == {"f0", "f3", "b0", "b3"}


def test_ids_include_items_that_are_not_searchable(filled):
    filled.upsert([{"item_id": "broken", "domain": "films", "image": b"nonsense"}])
    assert "broken" in set(filled.ids("films"))
    assert filled.count("films") == 6


def test_ids_are_read_while_items_change(filled):
    listed = filled.ids("films")
    first = next(listed)
    filled.delete(domain="films")
    assert sorted([first, *listed]) == [f"f{n}" for n in range(6)]
    assert list(filled.ids("books", where="n > 99")) == []


@pytest.mark.parametrize("verb", ["ids", "delete"])
def test_an_unknown_domain_and_a_bad_filter_are_refused(filled, verb):
    def run(**options):
        result = getattr(filled, verb)(**options)
        return result if verb == "delete" else list(result)

    with pytest.raises(InvalidInput, match="no domain 'film' in this space"):
        run(domain="film")
    with pytest.raises(InvalidFilter, match="The columns are"):
        run(where="nothing = 1")
    assert filled.count() == 10


def test_a_filter_deletes_at_once_in_every_process(filled):
    filled.publish()
    reader = Space.open(filled.path, encoder=two_encoders())
    assert reader.count() == 10
    assert filled.delete(where="n >= 2", domain="films") == 4
    assert reader.count("films") == 2
    hits = reader.search("word3", k=10)
    assert {hit.item_id for hit in hits} == {"f0", "f1", *reader.ids("books")}


def test_ids_and_a_filter_delete_what_both_name(filled):
    assert filled.delete(["f1", "f5", "b1", "none"], where="n < 3") == 2
    assert set(filled.ids(where="n = 1 OR n = 5")) == {"f5"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("gone.csv", "item_id,why\nf1,sold\nb2,\n"), ("gone.txt", "f1\n\nb2\n")],
)
def test_a_file_names_items_to_delete(filled, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert filled.delete(file=tmp_path / name) == 2
    assert filled.count() == 8


def test_a_deletion_of_nothing_is_refused(filled):
    with pytest.raises(InvalidInput, match="nothing is named to delete"):
        filled.delete()
    (filled.path / "empty.txt").write_text("")
    assert filled.delete(file=filled.path / "empty.txt") == 0
    assert filled.count() == 10
