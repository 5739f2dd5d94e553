"""Hybrid search: vectors and words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput, UnsupportedModality
from isthmus.index.catalog.lock import write_lock
from isthmus.retrieval.search.hybrid import search_bm25
from tests.toy import ToyEncoder, item, joint_encoder, picture, text_encoder, two_encoders


def ids(hits):
    return [hit.item_id for hit in hits]


def ids_with(space, words):
    view = space.opened.view()
    return set(view.item_ids(search_bm25(view, words, 1_000)[0]))


SHOES = [
    item("a", "red boots", price=10),
    item("b", "blue boots leather", price=20),
    item("c", "red red hat", "books", price=30),
    item("d", "green coat", "books", price=40),
    item("e", "model XK-4711 coat", price=50),
]


@pytest.fixture
def shop(space):
    space.upsert(SHOES)
    return space


def test_the_score_is_the_sum_of_the_reciprocal_ranks(shop):
    plain = shop.search("red boots", k=5)
    hits = shop.search("red boots", k=5, hybrid=True)
    by_vector = {hit.item_id: hit.rank for hit in plain}
    by_words = {"a": 1, "c": 2, "b": 3}
    for hit in hits:
        expected = 1 / (60 + by_vector[hit.item_id])
        if hit.item_id in by_words:
            expected += 1 / (60 + by_words[hit.item_id])
        assert hit.score == pytest.approx(expected, rel=1e-6)
    assert ids(hits)[0] == "a"
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    similarity = {hit.item_id: hit.score for hit in plain}
    assert {hit.item_id: hit.similarity for hit in hits} == pytest.approx(similarity)
    assert "similarity" in hits[0].as_dict()
    assert "similarity" not in plain[0].as_dict()


def test_a_rare_word_wins_where_vectors_do_not_encode_it(space):
    """The toy encoder takes ``4711`` and ``XK-4711`` for different words; BM25 does not."""
    space.upsert([*SHOES, *(item(f"n{n}", f"4711{n} thing") for n in range(30))])
    assert ids(space.search("4711", k=1)) != ["e"]
    assert "e" in ids(space.search("4711", k=2, hybrid=True))
    assert ids(space.search("4711", k=1, hybrid=True, bm25_weight=5)) == ["e"]


def test_weight_zero_is_the_ranking_by_vectors(shop):
    hits = shop.search("red boots", k=5, hybrid=True, bm25_weight=0)
    assert ids(hits) == ids(shop.search("red boots", k=5))
    assert [hit.score for hit in hits] == pytest.approx([1 / (60 + r) for r in range(1, 6)])


def test_filters_hold_for_both_rankings(space):
    """Most of those with the word are filtered away: candidates are added until enough are left."""
    space.upsert([item(f"{n:04}", f"sea w{n}", "ab"[n >= 990], n=n) for n in range(1_000)])
    hits = space.search("sea", k=10, hybrid=True, domain="b")
    assert sorted(ids(hits)) == [f"{n:04}" for n in range(990, 1_000)]
    assert min(hit.score for hit in hits) > 1 / 61, "every hit is in both rankings"
    hits = space.search("sea", k=7, hybrid=True, where="n >= 500", domain=["a"])
    assert len(hits) == 7
    assert all("0500" <= hit.item_id < "0990" for hit in hits)
    with pytest.raises(InvalidFilter):
        space.search("sea", hybrid=True, where="nothing = 1")
    with pytest.raises(InvalidInput, match="no domain"):
        space.search("sea", hybrid=True, domain="c")


def test_k_results_are_returned_where_k_exist(shop):
    assert len(shop.search("unheard", k=5, hybrid=True)) == 5
    assert len(shop.search("red", k=5, hybrid=True)) == 5
    assert len(shop.search("red", k=50, hybrid=True)) == 5
    assert len(shop.search("red", k=50, hybrid=True, where="price > 25")) == 3


def test_new_changed_and_deleted_items_count_at_once(shop):
    shop.publish()
    shop.upsert([item("n", "zebra boots"), item("a", "green scarf", price=10)])
    shop.delete("b")
    for _ in range(2):
        assert ids_with(shop, "boots") == {"n"}
        assert ids_with(shop, "zebra") == {"n"}
        assert ids_with(shop, "scarf") == {"a"}
        assert ids_with(shop, "red") == {"c"}
        assert "b" not in ids(shop.search("boots", hybrid=True))
        shop.publish()


def test_the_text_index_is_built_on_demand_and_updated_by_publishing(shop):
    snapshot = shop.opened.catalog.snapshot
    assert not snapshot().has_text_index
    shop.search("red", hybrid=True)
    assert snapshot().has_text_index
    shop.upsert([item("n", "zebra")])
    before = snapshot().version
    shop.publish()
    assert snapshot().version == before + 1
    shop.publish()
    shop.index_text()
    assert snapshot().version == before + 1, "up to date: nothing is written"
    assert ids_with(shop, "zebra") == {"n"}
    assert shop.opened.view().delta == 0


def test_a_search_beside_a_writer_works_without_a_text_index(shop):
    with write_lock(shop.path, "catalog"):
        hits = shop.search("red boots", hybrid=True)
        shop.publish()
    assert ids(hits)[0] == "a"
    assert not shop.opened.catalog.snapshot().has_text_index


def test_a_space_that_cannot_be_written_can_be_searched(shop, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("isthmus.retrieval.search.hybrid.write_lock", refuse)
    assert ids(shop.search("red boots", hybrid=True))[0] == "a"
    assert not shop.opened.catalog.snapshot().has_text_index


def test_words_are_found_in_every_script_and_form(space):
    space.upsert([item("ja", "東京の天気"), item("de", "Käse-Brötchen"), item("en", "The Boots")])
    space.index_text()
    assert ids_with(space, "天気") == {"ja"}
    assert ids_with(space, "KASE") == {"de"}
    assert ids_with(space, "boot") == {"en"}
    assert ids_with(space, "the") == {"en"}


def test_an_item_with_a_picture_alone_has_no_words(tmp_path):
    space = Space.create(tmp_path / "s", joint_encoder())
    space.upsert([item("t", "red"), {"item_id": "p", "domain": "films", "image": picture("red")}])
    hits = space.search("red", k=2, hybrid=True)
    assert ids(hits) == ["t", "p"]
    assert [hit.similarity for hit in hits] == pytest.approx([1, 1])


def test_a_text_with_a_picture_uses_both(space):
    space.upsert([item("a", "sea", image=picture("red")), item("b", "sea", image=picture("blue"))])
    hits = space.search("sea", image=picture("blue"), k=2, hybrid=True)
    assert ids(hits) == ["b", "a"]
    plain = space.search("sea", image=picture("blue"), k=2)
    assert [hit.similarity for hit in hits] == pytest.approx([hit.score for hit in plain])


def test_an_empty_space_finds_nothing(space):
    assert space.search("red", hybrid=True) == []


def test_invalid_hybrid_options_are_refused(shop, tmp_path):
    with pytest.raises(InvalidInput, match="give a text"):
        shop.search(image=picture("red"), hybrid=True)
    with pytest.raises(InvalidInput, match="give a text"):
        shop.search("  ", image=picture("red"), hybrid=True)
    for weight in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="bm25_weight"):
            shop.search("red", hybrid=True, bm25_weight=weight)
    pictures = Space.create(tmp_path / "p", ToyEncoder("image", dim=8))
    pictures.publish()
    assert not pictures.opened.catalog.snapshot().has_text_index
    with pytest.raises(UnsupportedModality):
        pictures.search("red", hybrid=True)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("fuzz") / "s", two_encoders())
    space.upsert(SHOES)
    space.publish()
    space.upsert([item("n", "newer boots")])
    return space


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_text_is_plain_words(fuzzed, text):
    assert len(ids_with(fuzzed, text)) <= 6


@pytest.mark.parametrize(
    "text",
    [
        'red AND boots "red boots"',
        "-red +boots",
        "text:red^2 ~ * ? boots",
        "red') OR 1=1 -- boots",
        "\x00red\x00boots",
        "\ud800 red boots",
        '{"match": {"red": "boots"}}',
        "red " * 2_000 + "boots",
    ],
)
def test_operators_are_words_too(fuzzed, text):
    assert {"a", "b", "c", "n"} <= ids_with(fuzzed, text)


WORDS = [f"w{n}" for n in range(6)]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
STEPS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(st.sampled_from("abcdefgh"), TEXTS, min_size=1)),
    st.tuples(st.just("delete"), st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["publish", "index", "tidy"]), st.none()),
)


@settings(max_examples=25)
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_words_match_the_catalog_after_any_operations(tmp_path_factory, steps):
    space = Space.create(tmp_path_factory.mktemp("steps") / "s", text_encoder())
    truth = {}
    for what, values in steps:
        if what == "put":
            space.upsert([item(name, text) for name, text in values.items()])
            truth |= values
        elif what == "delete":
            space.delete(values)
            truth = {name: text for name, text in truth.items() if name not in values}
        elif what == "publish" and truth:
            space.publish()
        elif what == "index":
            space.index_text()
        elif what == "tidy":
            space.opened.catalog.snapshot()._dataset.optimize.compact_files()
        for word in WORDS:
            matching = {name for name, text in truth.items() if word in text.split()}
            assert ids_with(space, word) == matching
