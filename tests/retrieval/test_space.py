"""The space through its public face."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import lance
import numpy as np
import pytest

from isthmus import Space, User
from isthmus.errors import (
    CorruptRelease,
    FingerprintMismatch,
    ImpossibleTargets,
    InvalidFilter,
    InvalidInput,
    InvalidItems,
    InvalidMapping,
    ItemNotFound,
    ReleaseNotFound,
    ReleaseRejected,
    SpaceExists,
    SpaceNotFound,
    UnsupportedFormat,
    UnsupportedModality,
)
from isthmus.index.ann.recipes import EXACT, RECIPES, recipe_named
from isthmus.index.catalog.lock import write_lock
from isthmus.index.releases.recall import USER, USER_WITHIN
from tests.toy import item, joint_encoder, picture, text_encoder, two_encoders


def ids(hits):
    return [hit.item_id for hit in hits]


FILMS = [
    item("f1", "sea storm ship", year=1990, price=9.5, tags=["a", "b"]),
    item("f2", "sea harbour", year=2000, price=20.0),
    item("b1", "sea voyage ship", "books", year=2010, price=None),
    item("b2", "mountain snow", "books", year=2020, price=5.0),
]


@pytest.fixture
def filled(space):
    space.upsert(FILMS)
    return space


# Writing


def test_adding_reports_and_adding_again_encodes_nothing(space):
    first = space.upsert(FILMS)
    assert (first.rows_read, first.added, first.encoded["text"]) == (4, 4, 4)
    again = space.upsert(FILMS)
    assert (again.unchanged, again.added, again.changed) == (4, 0, 0)
    assert again.encoded == {"text": 0, "image": 0}


def test_a_changed_attribute_encodes_nothing(filled):
    report = filled.upsert([{**FILMS[0], "price": 1.0}])
    assert (report.changed, report.encoded["text"]) == (1, 0)
    assert filled.get("f1")["attributes"]["price"] == 1.0


def test_a_changed_text_encodes_only_itself(filled):
    report = filled.upsert([{**FILMS[0], "text": "desert"}, *FILMS[1:]])
    assert (report.changed, report.unchanged, report.encoded["text"]) == (1, 3, 1)
    assert ids(filled.search("desert", k=1)) == ["f1"]


def test_a_changed_picture_encodes_only_the_picture(space):
    before = [item("a", "one", image=picture("red")), item("b", "two", image=picture("blue"))]
    space.upsert(before)
    report = space.upsert([{**before[0], "image": picture("green")}, before[1]])
    assert report.encoded == {"text": 0, "image": 1}
    assert ids(space.search(image=picture("green", 5), k=1)) == ["a"]


def test_the_same_content_is_encoded_once(space):
    report = space.upsert([item(str(n), "the same", image=picture("red")) for n in range(50)])
    assert report.encoded == {"text": 1, "image": 1}


def test_a_deleted_item_that_comes_back_encodes_nothing(filled):
    assert filled.delete(["f1", "unknown"]) == 1
    assert "f1" not in ids(filled.search("sea storm ship"))
    report = filled.upsert([FILMS[0]])
    assert (report.added, report.encoded["text"]) == (1, 0)
    assert ids(filled.search("sea storm ship", k=1)) == ["f1"]


def test_an_upsert_keeps_what_the_input_has_no_column_for(filled):
    before = filled.get("f1")["attributes"]
    report = filled.upsert([item("f1", "sea storm ship", year=1)])
    assert (report.changed, report.vanished) == (1, {})
    assert filled.get("f1")["attributes"] == {**before, "year": 1}


def test_a_replacing_upsert_takes_the_whole_item_and_says_what_vanishes(filled):
    report = filled.upsert([item("f1", "sea storm ship", year=1)], replace=True)
    assert (report.changed, report.vanished) == (1, {"price": 1, "tags": 1})
    assert filled.get("f1")["attributes"] == {"year": 1, "price": None, "tags": None}


def test_invalid_rows_refuse_the_batch_before_anything_is_encoded(space):
    with pytest.raises(InvalidItems, match="row 1: no item id") as caught:
        space.upsert([item("a", "x"), {"domain": "films", "text": "y"}])
    assert caught.value.problems == ((1, "no item id in 'item_id'"),)
    assert space.count() == 0


def test_invalid_rows_may_be_skipped(space):
    report = space.upsert([item("a", "x"), item("b", " ")], skip_invalid=True)
    assert (report.rows_read, report.added, report.invalid) == (2, 1, 1)
    assert report.problems == ["row 1: has no text and no image"]


def test_a_value_of_another_type_than_the_space_has_is_refused_by_row(filled):
    with pytest.raises(InvalidItems, match="row 1: column 'year' holds 'soon', which is no int64"):
        filled.upsert([item("a", "x", year="1999"), item("b", "y", year="soon")])
    assert filled.status()["items"] == 4


def test_an_id_cannot_move_to_another_domain(filled):
    with pytest.raises(InvalidItems, match="'f1' belongs to domain 'films' already, not 'books'"):
        filled.upsert([item("f1", "x", "books")])


def test_a_mapping_error_names_the_columns(space):
    with pytest.raises(InvalidMapping, match="its columns are: item_id, domain, text"):
        space.upsert([item("a", "x")], text="{title}")


def test_nothing_to_add_is_no_error(space):
    assert space.upsert([]).rows_read == 0


# Quarantine


def test_a_broken_picture_goes_to_quarantine_and_the_text_is_indexed(space, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(picture("red")[:40])
    report = space.upsert([item("a", "one", image=str(path)), item("b", "two")])
    assert (report.added, report.quarantined) == (2, 1)
    (row,) = space.quarantine()
    assert (row["item_id"], row["modality"], row["source"]) == ("a", "image", str(path))
    assert row["attempts"] == 1
    assert ids(space.search("one", k=1)) == ["a"]
    assert space.upsert([item("a", "one", image=str(path))]).unchanged == 1

    assert space.retry_quarantine().quarantined == 1
    assert space.quarantine()[0]["attempts"] == 2
    path.write_bytes(picture("red"))
    report = space.retry_quarantine()
    assert (report.quarantined, report.encoded["image"]) == (0, 1)
    assert space.quarantine() == []
    assert ids(space.search(image=picture("red"))) == ["a"]


def test_an_item_of_a_broken_picture_alone_waits_in_the_catalog(space):
    space.upsert([{"item_id": "a", "domain": "d", "image": "/nowhere.png", "year": 3}])
    assert space.count() == 0
    assert space.get("a")["attributes"] == {"year": 3}
    assert "no file /nowhere.png" in space.quarantine()[0]["reason"]
    with pytest.raises(ItemNotFound, match="no searchable item 'a'"):
        space.similar("a")


def test_mending_or_deleting_an_item_clears_its_quarantine(space):
    space.upsert([item("a", "one", image=b"nonsense"), item("b", "two", image=b"nonsense too")])
    assert len(space.quarantine()) == 2
    space.upsert([item("a", "one", image=picture("red"))])
    space.delete("b")
    assert space.quarantine() == []


# Searching


def test_text_finds_items_by_text_and_an_image_by_image(space):
    space.upsert([item("a", "red"), item("b", "ship", image=picture("red"))])
    assert ids(space.search("red")) == ["a", "b"]
    assert ids(space.search(image=picture("red", 5))) == ["b"]
    assert not space.status()["aligned"]


def test_a_joint_encoder_lets_text_find_pictures(tmp_path):
    space = Space.create(tmp_path / "s", joint_encoder())
    space.upsert([item("a", None, image=picture("red")), item("b", None, image=picture("blue"))])
    assert ids(space.search("blue")) == ["b", "a"]
    assert space.status()["aligned"]
    hit = space.search("blue", k=1)[0]
    assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_text_and_image_together(space):
    space.upsert(
        [
            item("both", "ship", image=picture("red")),
            item("text", "ship", image=picture("blue")),
            item("none", "tree", image=picture("green")),
        ]
    )
    assert ids(space.search("ship", image=picture("red", 4), k=2)) == ["both", "text"]


def test_hits_carry_the_requested_attributes(filled):
    hit = filled.search("sea storm ship", k=1)[0]
    assert (hit.item_id, hit.domain, hit.rank, hit.text) == ("f1", "films", 1, None)
    assert hit.score == pytest.approx(1.0, abs=1e-5)
    hit = filled.search("sea storm ship", k=1, attributes=True)[0]
    assert hit.text == "sea storm ship"
    assert hit.attributes == {"year": 1990, "price": 9.5, "tags": ["a", "b"]}


def test_a_vector_is_taken_for_the_named_vector_it_fits(filled):
    vector = 3 * text_encoder().encode(["mountain snow"])[0]
    assert ids(filled.search(vector=vector, k=1)) == ["b2"]
    with pytest.raises(InvalidInput, match=r"shape \(5,\).*\(64,\) for text or \(8,\) for image"):
        filled.search(vector=np.ones(5))
    with pytest.raises(InvalidInput, match="norm nan"):
        filled.search(vector=np.full(16, np.nan))


def test_a_vector_of_another_fingerprint_is_refused(filled):
    vector = text_encoder().encode(["x"])[0]
    filled.search(vector=vector, fingerprint=filled.fingerprint)
    with pytest.raises(FingerprintMismatch, match="made with encoder stack abc"):
        filled.search(vector=vector, fingerprint="abc")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year > 1995", {"f2", "b1", "b2"}),
        ("price < 10", {"f1", "b2"}),
        ("price IS NULL", {"b1"}),
        ("year BETWEEN 1990 AND 2000 AND domain = 'films'", {"f1", "f2"}),
        ("text LIKE '%ship%'", {"f1", "b1"}),
        ("array_has(tags, 'a')", {"f1"}),
        ("item_id IN ('f1', 'b2')", {"f1", "b2"}),
        ("year > 3000", set()),
    ],
)
def test_a_filter_is_always_applied(filled, where, expected):
    for _ in range(2):  # from the delta, then from a release
        assert set(ids(filled.search("sea", where=where))) == expected
        assert filled.count(where=where) == len(expected)
        filled.publish()


@pytest.mark.parametrize("where", ["nonsense > 1", "year >", "year > 'x' OR", "1; DROP TABLE x"])
def test_a_bad_filter_is_refused_with_the_columns(filled, where):
    with pytest.raises(InvalidFilter, match=r"The columns are: item_id \(string\)"):
        filled.search("sea", where=where)


def test_domains_are_filtered(filled):
    assert set(ids(filled.search("sea", domain="books"))) == {"b1", "b2"}
    assert len(filled.search("sea", domain=["books", "films"])) == 4
    with pytest.raises(InvalidInput, match=r"no domain 'music' in this space; .* books, films"):
        filled.search("sea", domain="music")


def test_a_search_returns_k_hits_where_there_are_as_many(space):
    space.upsert([item(str(n), f"word{n} sea", n=n) for n in range(300)])
    space.publish()
    assert len(space.search("sea", k=250)) == 250
    assert len(space.search("sea", k=1000)) == 300
    assert len(space.search("sea", k=10, where="n < 7")) == 7


@pytest.mark.parametrize("query", [{}, {"text": " "}, {"text": "x", "k": 0}])
def test_an_empty_query_is_refused(filled, query):
    with pytest.raises(InvalidInput):
        filled.search(**query)


def test_a_modality_that_the_space_lacks_is_refused(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    with pytest.raises(UnsupportedModality, match="no image encoder"):
        space.search(image=picture("red"))
    with pytest.raises(InvalidItems, match="has no text"):
        space.upsert([{"item_id": "a", "domain": "d", "image": picture("red")}])


def test_an_empty_space_answers_with_nothing(space):
    assert space.search("sea") == []
    assert space.recommend(User()) == []
    assert space.count() == 0
    space.publish()
    assert space.search("sea") == []


# Similar


def test_similar_crosses_domains_and_leaves_the_item_out(filled):
    assert ids(filled.similar("f1", domain="books", k=1)) == ["b1"]
    assert "f1" not in ids(filled.similar("f1"))
    with pytest.raises(ItemNotFound, match="no item 'zz'"):
        filled.similar("zz")


def test_a_missing_picture_counts_as_an_average_one(space):
    space.upsert(
        [
            item("query", "ship sea", image=picture("red")),
            item("same all", "ship sea", "books", image=picture("red", 4)),
            item("no picture", "ship sea", "books"),
            *(item(f"other {c}", "ship sea", "books", image=picture(c)) for c in ("blue", "green")),
            item("other words", "tree hill", "books"),
        ]
    )
    scores = {hit.item_id: hit.score for hit in space.similar("query", domain="books")}
    assert scores["same all"] == pytest.approx(1.0, abs=1e-4)
    assert scores["no picture"] == pytest.approx(0.5, abs=1e-4)
    pictured = [scores["same all"], scores["other blue"], scores["other green"]]
    assert np.mean(pictured) == pytest.approx(scores["no picture"], abs=1e-4)
    assert scores["other words"] < min(pictured)


# Releases


def test_new_changed_and_deleted_items_show_at_once_beside_a_release(filled):
    filled.publish()
    filled.upsert([item("n", "desert"), {**FILMS[1], "text": "jungle"}])
    filled.delete(["b2"])
    assert ids(filled.search("desert", k=1)) == ["n"]
    assert ids(filled.search("jungle", k=1)) == ["f2"]
    assert "b2" not in ids(filled.search("mountain snow", k=10))
    assert filled.status()["delta"] == 2
    filled.publish()
    assert filled.status()["delta"] == 0
    assert ids(filled.search("jungle", k=1)) == ["f2"]


def test_rollback_moves_current_and_keeps_the_items(filled):
    filled.publish()
    filled.upsert([item("n", "desert")])
    filled.publish()
    assert (filled.rollback(), filled.current_release) == (1, 1)
    assert ids(filled.search("desert", k=1)) == ["n"]
    assert filled.rollback(2) == 2
    with pytest.raises(ReleaseNotFound, match=r"no release 9 in .*; there are: 1, 2"):
        filled.rollback(9)
    for number in (0, -1, 2**63, 10**400):
        with pytest.raises(ReleaseNotFound, match="no release"):
            filled.rollback(number)
    filled.rollback(1)
    with pytest.raises(ReleaseNotFound, match="no accepted release before"):
        filled.rollback()


def test_a_reader_sees_what_another_writes(filled):
    reader = Space.open(filled.path, encoder=two_encoders())
    assert reader.count() == 4
    filled.upsert([item("n", "desert")])
    assert ids(reader.search("desert", k=1)) == ["n"]
    filled.publish()
    assert reader.status()["release"] == 1
    filled.delete("n")
    assert reader.count() == 4


def test_old_releases_are_pruned_and_the_current_one_is_kept(filled):
    filled.publish()
    for _ in range(7):
        filled.publish()
    filled.rollback(4)
    filled.publish()
    numbers = [manifest.number for manifest in filled.releases()]
    assert len(numbers) == 6
    assert numbers[-1] == 9 == filled.current_release


SUITABLE = "isthmus.index.releases.build.suitable"


def large(space, rows=3_000):
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(400)]
    space.upsert(
        [item(str(n), " ".join(rng.choice(words, 4)), "ab"[n % 2], n=n) for n in range(rows)]
    )


def with_planned_indexes(space):
    path = space.path / "space.toml"
    path.write_text(
        path.read_text()
        .replace("exact_bytes = 33554432", "exact_bytes = 0")
        .replace("exact_rows = 20000", "exact_rows = 0")
    )
    return Space.open(space.path, encoder=two_encoders())


def test_a_large_named_vector_gets_the_recipe_that_was_measured_to_be_the_cheapest(
    space, monkeypatch
):
    monkeypatch.setattr("isthmus.index.ann.filter_costs.MAX_EXACT", 100)
    large(space)
    space = with_planned_indexes(space)
    manifest = space.publish(recall=0.98)
    plan = manifest.plans["text"]
    assert [row.verdict for row in plan.table].count("chosen") == 1
    assert plan.table[0].recipe == manifest.named_vectors["text"].recipe
    assert {row.recipe for row in plan.table} == {recipe.name for recipe in RECIPES}
    kinds = {"item to item", "text to item", USER, USER_WITHIN}
    assert {(row.kind, row.domain) for row in manifest.recall if row.vector_name == "text"} == {
        *((kind, domain) for kind in kinds for domain in "ab"),
        ("all", "all"),
    }
    assert all(row.recall >= 0.98 for row in manifest.recall)
    view = space.opened.view()
    queries = view.vectors("text", np.arange(100)).vectors
    exact, _ = view.exact("text", queries, 10)
    found, _ = view.search("text", queries, 10)
    assert (found >= exact[:, -1:] - 1e-5).mean() >= 0.95
    hits = space.search("w1 w2", k=20, where="n % 3 = 0", domain="a")
    assert len(hits) == 20
    assert all(int(hit.item_id) % 6 == 0 for hit in hits)
    assert len(space.search("w1 w2", k=2_999)) == 2_999


@pytest.mark.parametrize("prefer", ["memory", "build"])
def test_the_smallest_or_soonest_built_index_is_taken_where_that_is_preferred(space, prefer):
    large(space, 1_500)
    space = with_planned_indexes(space)
    (plan,) = space.plan(recall=0.9, prefer=prefer)
    chosen, *others = [row.expected for row in plan.table if row.sample.reaches_recall]
    fastest = max(one.queries_per_s for one in [chosen, *others])
    assert 4 * chosen.queries_per_s >= fastest
    cost = {"memory": "bytes_per_vector", "build": "build_s"}[prefer]
    for one in others:
        assert 4 * one.queries_per_s < fastest or getattr(chosen, cost) <= getattr(one, cost)
    manifest = space.publish(recall=0.9, prefer=prefer)
    assert manifest.targets.prefer == prefer
    published = manifest.plans["text"].table[0]
    assert (published.recipe, published.verdict) == (
        manifest.named_vectors["text"].recipe, "chosen",
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="prefer"):
        space.publish(prefer="price")


@pytest.mark.parametrize("recipe", ["HNSW SQ8", "IVF SQ8"])
def test_recall_is_promised_for_texts_that_no_index_holds(space, monkeypatch, recipe):
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named(recipe)])
    large(space, 4_000)
    manifest = with_planned_indexes(space).publish(recall=0.95)
    planned = manifest.plans["text"].table[0].sample
    assert planned.recall["text to item"] >= 0.95
    assert manifest.named_vectors["text"].indexed_miss_ratio == planned.indexed_miss_ratio
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice([f"w{n}" for n in range(400)], 4)) for _ in range(500)]
    view, queries = space.opened.view(), two_encoders()["text"].encode(texts, "text")
    exact, _ = view.exact("text", queries, 10)
    found, _ = view.search("text", queries, 10)
    assert (found >= exact[:, -1:] - 1e-5).mean() >= 0.93  # 0.95 and what so few can be off by


def test_what_a_small_sample_cannot_rule_out_is_tried_at_full_size(space, monkeypatch):
    names = ["HNSW SQ8", "IVF SQ8", "HNSW RaBitQ"]
    monkeypatch.setattr(
        "isthmus.index.releases.build.suitable",
        lambda dim, on_gpu: [recipe_named(name) for name in names],
    )
    large(space, 4_000)
    path = space.path / "space.toml"
    path.write_text(path.read_text().replace("sample_rows = 50000", "sample_rows = 1000"))
    plan = with_planned_indexes(space).publish(recall=0.9).plans["text"]
    chosen, *others = plan.table
    assert (plan.rows, plan.sampled, chosen.built) == (4_000, 1_000, True)
    for row in others:
        smallest = plan.min_query_cost(recipe_named(row.recipe))
        assert smallest == pytest.approx(row.expected.query_cost / 4**0.25)
        cost = row.expected.query_cost if row.built else smallest
        assert chosen.expected.query_cost <= cost


@pytest.mark.heavy
def test_a_plan_and_its_training_serve_until_targets_or_size_change(space):
    large(space, 1_500)
    space = with_planned_indexes(space)
    first = space.publish()
    space.upsert([item("new", "w1 w2 w3")])
    second = space.publish()
    assert second.plans == first.plans
    assert second.named_vectors["text"].trained_rows == 1_500
    assert second.named_vectors["text"].vectors == 1_501
    retrained = space.publish(retrain=True)
    assert retrained.named_vectors["text"].trained_rows == 1_501
    assert space.publish(recall=0.9).plans["text"].targets.recall == 0.9
    large(space, 3_200)
    assert space.publish(recall=0.9).named_vectors["text"].trained_rows == 3_201


def test_a_plan_for_exact_search_ages_as_others_do(space, monkeypatch):
    monkeypatch.setattr(
        "isthmus.index.releases.build.suitable", lambda dim, on_gpu: iter(RECIPES[:1])
    )
    large(space, 1_500)
    space = with_planned_indexes(space)
    assert space.publish().named_vectors["text"].recipe == EXACT
    space.upsert([item("new", "w1 w2 w3")])
    again = space.publish().named_vectors["text"]
    assert (again.trained_rows, again.vectors) == (1_500, 1_501)


def test_status_says_retrain_when_the_catalogue_has_grown(space, monkeypatch):
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
    large(space, 1_500)
    space = with_planned_indexes(space)
    space.publish()
    health = space.status()["index"]["text"]
    assert health["retrain"] is None
    assert health["current_recall"] is None
    large(space, 3_100)
    health = space.status()["index"]["text"]
    assert (health["vectors"], health["trained_rows"]) == (3_100, 1_500)
    assert "3,100 vectors are 2.1 times those that it was trained on" in health["retrain"]
    assert health["current_recall"] >= 0.9
    space.publish()
    assert space.status()["index"]["text"]["retrain"] is None


def test_status_says_retrain_when_vectors_are_unlike_those_of_training(space, monkeypatch):
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
    rng = np.random.default_rng(0)
    few = [f"w{n}" for n in range(12)]
    space.upsert([item(str(n), " ".join(rng.choice(few, 3))) for n in range(1_500)])
    space = with_planned_indexes(space)
    space.publish()
    space.upsert([item(f"new{n}", f"u{n} v{n} x{n} y{n}") for n in range(1_400)])
    said = space.status()["index"]["text"]["retrain"]
    assert said.startswith("vectors are unlike those of training: cosine 0.")


def test_a_plan_for_many_rows_is_extrapolated_and_says_so(space, capfd, monkeypatch):
    large(space, 1_500)
    space = with_planned_indexes(space)
    (plan,) = space.plan(rows=10**9)
    assert plan.extrapolated
    assert (plan.rows, plan.sampled) == (10**9, 1_500)
    exact = next(row for row in plan.table if row.recipe == "exact fp32")
    assert exact.expected.bytes_per_vector == 4 * 64
    assert exact.expected.p50_ms > 100 * exact.sample.p50_ms
    for row in plan.table:  # a graph's searches grow with the logarithm; building with the rows
        if row.recipe.startswith("HNSW"):
            assert row.expected.p50_ms < 20 * row.sample.p50_ms
        if row.recipe != "exact fp32":
            assert row.expected.build_s > 1e5 * row.sample.build_s
    small, large_sample = sorted({row.sample.rows for row in plan.table})
    assert small < large_sample / 3  # all recipes are measured on a part of the sample first
    assert plan.table[0].sample.rows == large_sample
    assert space.current_release is None
    assert capfd.readouterr().err == ""  # FAISS warns of small samples
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
    (here,) = space.plan()
    assert not here.extrapolated


@pytest.mark.heavy
def test_impossible_targets_name_the_nearest_that_can_be_had(space):
    large(space, 1_500)
    space = with_planned_indexes(space)
    with pytest.raises(
        ImpossibleTargets, match=r"the nearest is .*: recall@10 .*, p99 .* ms"
    ) as no:
        space.publish(memory=10)
    assert list((space.path / "releases").iterdir()) == []  # what was begun is not left behind
    recall, mib = re.search(r"recall@10 ([\d.]+), p99 .* ms, (\d+) MiB", str(no.value)).groups()
    assert space.publish(recall=float(recall), memory=f"{mib}MiB").number == 1
    with pytest.raises(ImpossibleTargets, match="p99 1e-06 ms"):
        space.publish(latency_ms=1e-6)
    assert [manifest.number for manifest in space.releases()] == [1]


def test_a_release_that_misses_its_recall_is_kept_but_not_current(space, monkeypatch):
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named("IVF SQ8")])
    large(space)
    space = with_planned_indexes(space)
    space.publish()
    recall = "isthmus.index.releases.recall.RecallTest.recall"
    monkeypatch.setattr(recall, lambda self, _: 0.5 if self.queries.name == USER_WITHIN else 1.0)
    with pytest.raises(
        ReleaseRejected, match=r"recall@10 of text, user to item, .* in . is 0\.500"
    ):
        space.publish()
    assert space.current_release == 1
    assert [manifest.accepted for manifest in space.releases()] == [True, False]
    with pytest.raises(ReleaseRejected):
        space.rollback(2)


def test_a_latency_that_nothing_has_at_full_size_is_missed_by_exact_search_too(space, monkeypatch):
    monkeypatch.setattr(SUITABLE, lambda dim, on_gpu: [recipe_named("HNSW SQ8")])
    large(space, 1_500)
    space = with_planned_indexes(space)
    monkeypatch.setattr(
        "isthmus.index.releases.build.latency_ms", lambda index, queries: (8.0, 9.0)
    )
    with pytest.raises(ReleaseRejected, match=r"p99 of text is 9\.0 ms, over 5"):
        space.publish(latency_ms=5)
    assert space.current_release is None
    assert [manifest.accepted for manifest in space.releases()] == [False]


def test_a_damaged_release_is_rebuilt_from_the_catalog_alone(filled):
    filled.publish()
    (filled.path / "releases/000001/text.vectors.f32").write_bytes(b"x")
    fresh = Space.open(filled.path, encoder=two_encoders())
    with pytest.raises(CorruptRelease, match="publish --rebuild"):
        fresh.search("red")
    assert fresh.publish(rebuild=True).number == 2
    assert fresh.search("red")


@pytest.mark.parametrize("recall", [0, 1.5, -1])
def test_an_impossible_recall_is_refused(space, recall):
    with pytest.raises(InvalidInput, match="a target makes no sense: recall"):
        space.publish(recall=recall)


@pytest.mark.parametrize("name", ["rows.arrow", "text.vectors.f32", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_release_is_detected_with_the_remedy(filled, name, damage):
    filled.publish()
    path = filled.path / "releases/000001" / name
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        middle = len(data) // 2
        path.write_bytes(
            data[:middle] if damage == "cut" else data[:middle] + b"\xff" + data[middle + 1 :]
        )
    if name == "manifest.json" and damage == "flip":
        path.write_bytes(data[:5])
    reader = Space.open(filled.path, encoder=two_encoders())
    with pytest.raises(CorruptRelease, match=r"release (1|000001).*publish"):
        reader.search("sea")
    reader.publish()
    assert len(reader.search("sea")) == 4


# Opening


def test_a_path_with_a_control_character_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"'.*two\\nlines' holds a control character"):
        Space.create(tmp_path / "two\nlines", text_encoder())
    assert list(tmp_path.iterdir()) == []


def test_creating_where_something_stands_is_refused(filled, tmp_path):
    with pytest.raises(SpaceExists, match="exists already"):
        Space.create(filled.path, text_encoder())
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpaceExists):
        Space.create(tmp_path / "file", text_encoder())


def test_an_empty_folder_may_become_a_space(tmp_path):
    (tmp_path / "s").mkdir()
    assert Space.create(tmp_path / "s", text_encoder()).count() == 0


def test_opening_what_is_no_space_is_refused(tmp_path):
    with pytest.raises(SpaceNotFound, match=r"is no space .*isthmus create"):
        Space.open(tmp_path)


def test_another_format_is_refused(filled):
    path = filled.path / "space.toml"
    path.write_text(path.read_text().replace("format = 1", "format = 99"))
    with pytest.raises(UnsupportedFormat, match="on-disk format 99"):
        Space.open(filled.path)


@pytest.mark.parametrize("content", ["format = ", 'format = 1\nblocks = "x"'])
def test_broken_settings_are_refused(filled, content):
    (filled.path / "space.toml").write_text(content)
    with pytest.raises(InvalidInput, match=r"space\.toml is (not valid|invalid)"):
        Space.open(filled.path)


def test_another_encoder_is_refused_with_the_difference(filled):
    other = {**two_encoders(), "text": text_encoder(salt="other")}
    with pytest.raises(FingerprintMismatch, match=r"text.salt was '' and is 'other'"):
        Space.open(filled.path, encoder=other)


def test_stats_describe_the_space(filled):
    filled.publish()
    filled.upsert([item("n", "desert")])
    stats = filled.status()
    assert stats["items"] == stats["searchable"] == 5
    assert stats["domains"] == {"books": 2, "films": 3}
    assert (stats["release"], stats["release_items"], stats["delta"]) == (1, 4, 1)
    assert stats["attributes"] == {"year": "int64", "price": "double", "tags": "list<string>"}


def test_a_batch_of_vectors_finds_what_each_alone_finds(space: Space) -> None:
    space.upsert([item(f"f{n}", f"word{n}") for n in range(5)])
    space.upsert([item("b", "word1", "books")])
    vectors = np.stack([text_encoder().encode([f"word{n}"], "text")[0] for n in range(5)])
    found = space.search_batch(vectors * 7, k=8, domain=["films"])
    assert found.item_ids.shape == found.scores.shape == (5, 8)
    for vector, ids, scores in zip(vectors, found.item_ids, found.scores, strict=True):
        alone = space.search(vector=vector, k=8, domain="films")
        assert [hit.item_id for hit in alone] == ids[:5].tolist()
        assert [hit.score for hit in alone] == pytest.approx(scores[:5].tolist(), abs=1e-6)
        assert ids[5:].tolist() == [None] * 3
        assert np.isneginf(scores[5:]).all()


def test_a_batch_names_the_vector_that_is_no_good(space: Space) -> None:
    space.upsert([item("f", "word")])
    vectors = np.ones((3, 64), np.float32)
    vectors[1, 5] = np.nan
    with pytest.raises(InvalidInput, match="vector 1 has norm nan"):
        space.search_batch(vectors)
    with pytest.raises(InvalidInput, match=r"shape \(3, 63\); give \(n, 64\) for text"):
        space.search_batch(vectors[:, 1:])
    for texts in (["sea"], [[1.0], [1.0, 2.0]]):
        with pytest.raises(InvalidInput, match="a vector is not a list of numbers: "):
            space.search_batch(texts)
    with pytest.raises(InvalidInput, match=r"not a list of numbers: could not convert .*'sea'"):
        space.search(vector=["sea"])


def test_one_domain_or_several_are_one_option(space: Space) -> None:
    space.upsert([item("f", "word"), item("b", "word", "books")])
    assert [hit.item_id for hit in space.search("word", domain=["books"])] == ["b"]
    assert space.count(domain=["books", "films"]) == 2
    assert space.search("word", domain="books") == space.search("word", domain=["books"])


def test_compacting_keeps_every_item_and_drops_old_versions(space):
    for n in range(40):
        space.upsert([item(f"f{n}", f"word{n}", price=float(n))])
    space.delete("f3")
    space.publish()
    space.upsert([item("f4", "changed", price=100.0)])
    reader = Space.open(space.path, encoder=two_encoders())
    before = reader.search("word7", k=50)
    catalog, *caches = space.compact(keep_days=0)
    assert catalog.table == "catalog.lance"
    assert catalog.fragments <= 2 < catalog.fragments_before  # what is indexed, and what is not
    assert all(cache.fragments <= 1 for cache in caches)
    assert catalog.versions_removed > 30
    assert catalog.bytes_freed > 0
    assert reader.search("word7", k=50) == before
    fresh = Space.open(space.path, encoder=two_encoders())
    assert fresh.search("word7", k=50) == before
    assert fresh.count(where="price >= 100") == 1
    assert space.upsert([item("f5", "word5", price=5.0)]).unchanged == 1
    with pytest.raises(InvalidInput, match="keep_days is -1"):
        space.compact(keep_days=-1)


@pytest.mark.parametrize("kept", [[], ["_transactions"]])
def test_tables_whose_making_was_cut_off_are_made_anew(space, kept):
    space.upsert([item("f", "word", image=b"no picture")])
    space.add_interactions([{"user_id": "u", "item_id": "f"}])
    for table in (space.path / "embedding_cache").glob("*.lance"):
        _cut_off(table, kept)
    _cut_off(space.path / "interactions.lance", kept)
    space = Space.open(space.path, encoder=two_encoders())
    assert space.interactions("u").num_rows == 0
    assert "interactions.lance" not in {report.table for report in space.compact()}
    assert space.upsert([item("g", "other", image=b"no picture")]).added == 1
    space.add_interactions([{"user_id": "u", "item_id": "g"}])
    assert [row["item_id"] for row in space.quarantine()] == ["f", "g"]
    assert space.interactions("u").column("item_id").to_pylist() == ["g"]
    assert ids(space.search("other", k=1)) == ["g"]


def _cut_off(table, kept):
    """Leave what a writer leaves that was killed before the first version of its table."""
    for folder in table.iterdir():
        if folder.is_dir() and folder.name not in kept:
            shutil.rmtree(folder)


def test_publishing_drops_versions_past_their_time_unless_somebody_writes(space):
    toml = space.path / "space.toml"
    toml.write_text(toml.read_text().replace("keep_versions_days = 14.0", "keep_versions_days = 0"))
    space = Space.open(space.path, encoder=two_encoders())
    for n in range(5):
        space.upsert([item(f"f{n}", f"word{n}")])
    with write_lock(space.path, "catalog"):
        space.publish()
        assert len(_versions(space)) > 5
    space.publish()
    assert len(_versions(space)) == 1
    assert [hit.item_id for hit in space.search("word3", k=1)] == ["f3"]


def _versions(space):
    return lance.dataset(str(space.path / "catalog.lance")).versions()


def test_small_jobs_look_up_what_large_ones_load(space, monkeypatch):
    monkeypatch.setattr("isthmus.data.lance_tables.MIN_INDEXED_ROWS", 100)
    monkeypatch.setattr("isthmus.data.lance_tables.MAX_FRAGMENTS", 3)
    space.upsert([item(f"f{n}", f"word{n}") for n in range(300)])
    encoder = two_encoders()
    space = Space.open(space.path, encoder=encoder)
    for n in range(8):  # by look-up, through an index of the ids that is renewed now and then
        report = space.upsert(
            [item(f"f{n}", f"word{n}"), item(f"f{n + 50}", "word7"), item(f"new{n}", f"new{n}")]
        )
        assert (report.unchanged, report.changed, report.added) == (1, 1, 1)
        assert report.encoded["text"] == 1
    assert encoder["text"].encoded == [f"new{n}" for n in range(8)]
    with pytest.raises(InvalidItems, match="belongs to domain 'films' already"):
        space.upsert([item("f9", "word", "books")])
    assert space.count() == 308
    assert {hit.item_id for hit in space.search("word7", k=9)} == {
        "f7",
        *(f"f{n + 50}" for n in range(8)),
    }
    assert space.delete([f"f{n + 50}" for n in range(8)]) == 8
    assert space.upsert([item("f50", "word7", "books")]).added == 1


def test_a_space_that_has_no_heads_needs_no_deep_learning_library():
    heavy = "torch, transformers, scipy, pandas, implicit, matplotlib"
    loaded = f"{{*'{heavy}'.split(', ')}} & {{*sys.modules}}"
    code = f"from isthmus import Space; import sys; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
