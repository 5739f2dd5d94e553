"""Vectors that come with the items: stored, checked, searched, updated and exported."""

from __future__ import annotations

import json

import lance
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isthmus import Space, User
from isthmus.data.given_vectors import read_vectors
from isthmus.errors import (
    FingerprintMismatch,
    InvalidInput,
    InvalidItems,
    InvalidMapping,
    UnsupportedModality,
    UnsupportedOperation,
)
from isthmus.index.ann.recipes import recipe_named
from tests.toy import ToyEncoder, joint_encoder, text_encoder

POINTS = np.array([[3, 4, 0], [0, 5, 0], [0, 3, 4], [0, 0, 2]], np.float32)
UNIT = np.array([[0.6, 0.8, 0], [0, 1, 0], [0, 0.6, 0.8], [0, 0, 1]], np.float32)
IDS = ["a", "b", "c", "d"]


def table(vectors: object = None, **more: object) -> pa.Table:
    vectors = POINTS.tolist() if vectors is None else vectors
    return pa.table({"item_id": IDS, "title": [f"title {i}" for i in IDS], "e": vectors, **more})


@pytest.fixture
def bare(tmp_path) -> Space:
    """A space without encoders, and with the four points."""
    space = Space.create(tmp_path / "bare", "none")
    space.upsert(table(), domain="points", vector="e")
    return space


def stored(space: Space, name: str = "vector") -> dict[str, list[float] | None]:
    rows = space.vectors().read_all()
    return dict(zip(rows["item_id"].to_pylist(), rows[name].to_pylist(), strict=True))


def ids(hits) -> list[str]:
    return [hit.item_id for hit in hits]


class TestWithoutEncoders:
    def test_the_first_input_says_the_length(self, bare):
        status = bare.status()
        assert status["encoders"] == {}
        assert status["named_vectors"] == {"vector": {"dim": 3, "modalities": (), "given": True}}
        assert status["searchable"] == 4
        assert stored(bare) == dict(zip(IDS, UNIT.tolist(), strict=True))

    def test_search_similar_and_examples(self, bare):
        hits = bare.search(vector=[0, 2, 0])
        assert ids(hits) == ["b", "a", "c", "d"]
        assert [round(hit.score, 5) for hit in hits] == [1, 0.8, 0.6, 0]
        assert ids(bare.similar("d", k=1)) == ["c"]
        assert ids(bare.search(like=["a"], unlike=["d"], k=1)) == ["b"]
        assert ids(bare.search(vector={"vector": [0, 0, 1]}, k=1)) == ["d"]
        assert ids(bare.search(vector=[0, 0, 1], where="title = 'title a'")) == ["a"]

    def test_a_release_is_measured_and_answers(self, bare):
        manifest = bare.publish()
        assert {row.kind for row in manifest.recall} >= {"item to item", "vector to item"}
        assert Space.open(bare.path).search(vector=[0, 0, 1], k=1)[0].item_id == "d"

    def test_users_are_recommended_what_is_near_to_their_history(self, bare):
        assert ids(bare.recommend(User(["d"]), k=1)) == ["c"]
        with pytest.raises(UnsupportedModality, match="no text encoder"):
            bare.recommend(User(text="boots"))

    @pytest.mark.parametrize("ask", [{"text": "boots"}, {"text": "boots", "hybrid": True}])
    def test_a_text_has_no_encoder_and_the_error_says_what_to_do(self, bare, ask):
        with pytest.raises(UnsupportedModality, match=r"vector \(3 numbers\).*Search by vector"):
            bare.search(**ask)

    def test_the_mapping_is_remembered(self, bare):
        again = bare.upsert(table(), domain="points")
        assert (again.unchanged, again.mapping["points"]["vector vector"]) == (4, "e")
        with pytest.raises(InvalidMapping, match="made of 'e', and not of 'f'"):
            bare.upsert(table(f=POINTS.tolist()), domain="points", vector="f")

    def test_get_names_the_vectors(self, bare):
        assert bare.get("a")["vectors"] == ["vector"]
        assert bare.get("a")["modalities"] == []

    def test_a_duplicate_and_a_map_are_found_in_it(self, bare):
        bare.upsert(
            [{"item_id": "e", "domain": "points", "e": [6, 8, 0]}], vector="e", domain="points"
        )
        assert bare.duplicates()["item_id"].to_pylist() == ["a", "e"]
        assert set(bare.map().modalities) == {"vector"}


class TestChanges:
    def test_an_update_of_vectors_alone(self, bare):
        report = bare.update([{"item_id": "a", "e": [0, 0, 7]}])
        assert (report.changed, report.reencoded) == (1, 1)
        assert stored(bare)["a"] == [0, 0, 1]
        assert bare.get("a")["attributes"] == {"title": "title a"}

    def test_an_update_of_attributes_keeps_the_vector(self, bare):
        before = bare.opened.view()
        bare.update([{"item_id": "a", "title": "new"}])
        assert stored(bare)["a"] == UNIT[0].tolist()
        assert bare.get("a")["attributes"]["title"] == "new"
        assert bare.opened.view().segments[-1] is before.segments[-1]  # no index was touched

    def test_an_item_without_its_only_vector_is_refused(self, bare):
        with pytest.raises(InvalidItems, match="has no vector"):
            bare.upsert([{"item_id": "x", "domain": "points", "title": "x"}])
        rows = [{"item_id": "a", "domain": "points", "e": None, "title": "t"}]
        assert bare.upsert(rows, skip_invalid=True).invalid == 1
        assert stored(bare)["a"] == UNIT[0].tolist()

    def test_rows_without_the_key_keep_the_vector(self, bare):
        rows = [
            {"item_id": "a", "domain": "points", "title": "new"},
            {"item_id": "e", "domain": "points", "e": [1, 0, 0]},
        ]
        bare.upsert(rows)
        assert stored(bare) | {"e": [1, 0, 0]} == stored(bare)
        assert stored(bare)["a"] == UNIT[0].tolist()

    def test_delete_sync_and_compact(self, bare):
        bare.delete(["a"])
        bare.upsert(table().slice(1, 2), domain="points", sync=True, max_delete=1)
        bare.compact(keep_days=0)
        assert sorted(stored(bare)) == ["b", "c"]
        assert bare.verify().damages == []

    def test_a_dry_run_declares_and_writes_nothing(self, tmp_path):
        space = Space.create(tmp_path / "s", "none")
        report = space.upsert(table(), domain="points", vector="e", dry_run=True)
        assert (report.added, space.status()["items"]) == (4, 0)
        assert space.status()["named_vectors"] == {}

    def test_another_process_has_to_open_a_space_that_got_its_vectors(self, tmp_path):
        space = Space.create(tmp_path / "s", "none")
        other = Space.open(space.path)
        space.upsert(table(), domain="points", vector="e")
        with pytest.raises(FingerprintMismatch, match=r"vectors\.vector was None and is '3'"):
            other.status()


class TestChecks:
    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ([1.0, 2.0], "holds 2 numbers, and not 3, as vector 'vector' has"),
            ([1.0, float("nan"), 0.0], "holds NaN at position 1"),
            ([float("inf"), 0.0, 0.0], "holds infinity, or a number too large for 32 bits, at"),
            ([1e300, 0.0, 0.0], "too large for 32 bits"),
            ([0.0, 0.0, 0.0], "holds zeros alone, which have no direction"),
            ([1.0, None, 0.0], "holds NaN at position 1"),
            ("soon", "holds 'soon', which is no list of numbers"),
            ([[1.0], [2.0], [3.0]], "holds lists of lists"),
            ([True, False, True], "holds a list of other things than numbers"),
            (7, "holds 7, which is no list of numbers"),
        ],
    )
    def test_a_bad_vector_is_named_and_nothing_is_stored(self, tmp_path, bad, why):
        space = Space.create(tmp_path / "s", "none", vectors={"vector": 3})
        rows = [
            {"item_id": "good", "domain": "points", "e": [1, 0, 0]},
            {"item_id": "bad", "domain": "points", "e": bad},
        ]
        with pytest.raises(InvalidItems) as caught:
            space.upsert(rows, vector="e")
        assert "row 1" in str(caught.value)
        assert why in str(caught.value)
        assert space.status()["items"] == 0
        report = space.upsert(rows, vector="e", skip_invalid=True)
        assert (report.added, report.invalid) == (1, 1)

    def test_a_first_input_that_is_refused_declares_nothing(self, tmp_path):
        space = Space.create(tmp_path / "s", "none")
        with pytest.raises(InvalidItems, match="holds 3 numbers, and not 2"):
            space.upsert(table([[1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]), domain="p", vector="e")
        assert space.status()["named_vectors"] == {}
        assert space.upsert(table(), domain="p", vector="e").added == 4

    def test_a_space_without_vectors_says_how_it_gets_them(self, tmp_path):
        empty = Space.create(tmp_path / "empty", "none")
        remedy = f"with: isthmus upsert FILES --vector COLUMN --space {empty.path}"
        for refused in (
            lambda: empty.upsert(table().drop_columns("e"), domain="points"),
            empty.publish,
        ):
            with pytest.raises((InvalidInput, InvalidItems), match=remedy):
                refused()
        empty.upsert(table(), domain="points", vector="e")
        assert ids(empty.search(vector=POINTS[1], k=1)) == ["b"]

    def test_a_space_with_a_release_gets_no_further_vector(self, tmp_path):
        space = Space.create(tmp_path / "s", "none", vectors={"one": 2})
        space.publish()
        with pytest.raises(InvalidInput, match="has a release, and no named vector 'e'"):
            space.upsert(table(), domain="points", vectors={"e": "e"})
        assert space.status()["named_vectors"].keys() == {"one"}

    def test_a_space_with_items_gets_no_further_vector(self, bare):
        with pytest.raises(InvalidInput, match=r"no named vector 'plot'.*there are vector"):
            bare.upsert(table(), domain="points", vectors={"plot": "e"})

    @pytest.mark.parametrize(
        ("vectors", "why"),
        [
            ({"aligned": 3}, "cannot be called 'aligned'"),
            ({"a b": 3}, "cannot be called 'a b'"),
            ({"a": 0}, "the length of named vector 'a' is 0"),
            ({"a": 3.5}, r"the length of named vector 'a' is 3\.5"),
        ],
    )
    def test_names_and_lengths(self, tmp_path, vectors, why):
        with pytest.raises(InvalidInput, match=why):
            Space.create(tmp_path / "s", "none", vectors=vectors)
        assert not (tmp_path / "s").exists()

    def test_an_absent_column_an_unknown_type_and_two_arguments(self, bare):
        with pytest.raises(InvalidMapping, match=r"no column 'f'.*its columns are"):
            bare.upsert(table(), domain="points", vector="f", remap=True)
        with pytest.raises(InvalidMapping, match="a vector is a list of numbers"):
            bare.upsert(table([["a"], ["b"], ["c"], ["d"]]), domain="points")
        with pytest.raises(InvalidInput, match="and not both"):
            bare.upsert(table(), domain="points", vector="e", vectors={"vector": "e"})


def columns_of_every_type() -> dict[str, object]:
    flat = pa.array(POINTS.ravel())
    return {
        "lists": pa.array(POINTS.tolist()),
        "large lists": pa.array(POINTS.tolist(), pa.large_list(pa.float64())),
        "fixed size": pa.FixedSizeListArray.from_arrays(flat, 3),
        "half": pa.FixedSizeListArray.from_arrays(pa.array(POINTS.ravel().astype("f2")), 3),
        "double": pa.array(POINTS.astype("f8").tolist(), pa.list_(pa.float64())),
        "integers": pa.array(POINTS.astype(int).tolist(), pa.list_(pa.int32())),
        "tensors": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), (3,)), pa.FixedSizeListArray.from_arrays(flat, 3)
        ),
        "texts": [json.dumps(point) for point in POINTS.tolist()],
    }


@pytest.mark.parametrize("kind", columns_of_every_type())
def test_every_type_of_column_gives_the_same_vectors(kind):
    read = read_vectors(columns_of_every_type()[kind], 3)
    np.testing.assert_array_equal(read.vectors, UNIT)
    assert (read.present.all(), read.misfits) == (True, [])


def test_arrow_types_that_a_space_is_given(tmp_path):
    space = Space.create(tmp_path / "s", "none")
    for kind, column in columns_of_every_type().items():
        report = space.upsert(table(column), domain="points", vector="e")
        assert (report.added, report.unchanged) == ((4, 0) if kind == "lists" else (0, 4)), kind


def test_frames_and_arrays_give_the_same_vectors(tmp_path):
    space = Space.create(tmp_path / "s", "none")
    space.upsert(pd.DataFrame({"item_id": IDS, "e": list(POINTS)}), domain="p", vector="e")
    frame = pl.DataFrame({"item_id": IDS, "e": pl.Series(POINTS, dtype=pl.Array(pl.Float32, 3))})
    assert space.upsert(frame, domain="p").unchanged == 4
    without = table().drop_columns(["e", "title"])
    for array in (POINTS, POINTS.astype("f8"), POINTS.astype("f2")):
        assert space.upsert(without, domain="p", vector=array).unchanged == 4
    with pytest.raises(InvalidInput, match=r"vector 'vector' is an array of 3 rows, .* 4 or"):
        space.upsert(without, domain="p", vector=POINTS[:3])
    with pytest.raises(InvalidItems, match="row 1: vector 'vector' holds zeros alone"):
        space.upsert(without, domain="p", vector=POINTS * [[1], [0], [1], [1]])
    with pytest.raises(InvalidInput, match=r"numbers of shape \(n_items, dim\)"):
        space.upsert(without, domain="p", vector=POINTS.ravel())


def test_a_csv_holds_vectors_as_text(tmp_path):
    path = tmp_path / "points.csv"
    rows = [f'{i},"{json.dumps(point)}"' for i, point in zip(IDS, POINTS.tolist(), strict=True)]
    path.write_text("\n".join(["item_id,e", *rows]))
    space = Space.create(tmp_path / "s", "none", vectors={"e": 3})
    space.upsert(path, domain="points")  # the column is called as the named vector
    assert stored(space, "e") == dict(zip(IDS, UNIT.tolist(), strict=True))


@settings(max_examples=60)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(-1e30, 1e30, allow_subnormal=True),
    )
)
def test_what_is_read_is_at_unit_norm_and_reads_as_itself(matrix):
    read = read_vectors(pa.array(matrix.tolist()), matrix.shape[1])
    refused = {row for row, _ in read.misfits}
    assert [row not in refused for row in range(len(matrix))] == read.present.tolist()
    norms = np.linalg.norm(read.vectors[read.present].astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)
    again = read_vectors(read.as_column(), matrix.shape[1])
    np.testing.assert_array_equal(again.vectors, read.vectors)


class TestBesideEncoders:
    def test_an_encoder_of_queries_for_vectors_that_are_given(self, tmp_path):
        encoder = text_encoder()
        vectors = encoder.encode(["red boots", "blue hat"])
        encoder.encoded.clear()
        space = Space.create(tmp_path / "s", text_encoder=encoder, vectors={"text": 64})
        rows = {"item_id": ["r", "b"], "text": ["unlike", "anything"], "v": list(vectors)}
        report = space.upsert(pa.table(rows), domain="shop", vectors={"text": "v"})
        assert (report.encoded, encoder.encoded) == ({}, [])
        assert [(h.item_id, round(h.score, 5)) for h in space.search("blue hat", k=1)] == [("b", 1)]
        space.publish()
        assert space.search("red boots", k=1)[0].item_id == "r"
        with pytest.raises(UnsupportedOperation, match="were given with the items"):
            space.reembed(text_encoder=text_encoder(salt="other"))
        assert space.verify().damages == []

    def test_pictures_that_are_given_are_found_by_text(self, tmp_path):
        encoder = joint_encoder()
        space = Space.create(tmp_path / "s", encoder, vectors={"joint": 64})
        rows = {"item_id": ["r", "b"], "v": list(encoder.encode(["red", "blue"]))}
        space.upsert(pa.table(rows), domain="shop", vectors={"joint": "v"})
        assert space.search("blue", k=1)[0].item_id == "b"

    def test_another_length_than_the_encoder_is_another_model(self, tmp_path):
        with pytest.raises(InvalidInput, match="are of another model"):
            Space.create(tmp_path / "s", text_encoder=text_encoder(), vectors={"text": 32})

    def test_encoded_and_given_vectors_side_by_side(self, tmp_path):
        space = Space.create(tmp_path / "s", text_encoder=text_encoder(), vectors={"e": 3})
        space.upsert(table(), domain="points", text="{title}")
        space.upsert([{"item_id": "t", "domain": "points", "title": "only text"}])
        assert space.get("t")["vectors"] == []
        assert space.search("only text", k=1)[0].item_id == "t"
        assert space.search(vector={"e": [0, 0, 1]}, k=1)[0].item_id == "d"
        whole = [{"item_id": "b", "domain": "points", "title": "no vector any more"}]
        assert space.upsert(whole, replace=True).vanished == {"vector e": 1}
        assert space.get("b")["vectors"] == []
        space.publish()
        report = space.reembed(text_encoder=text_encoder(dim=24, salt="other"))
        assert report.encoded == {"text": 5}
        assert stored(space, "e")["a"] == UNIT[0].tolist()
        assert space.search("only text", k=1)[0].item_id == "t"
        assert space.search(vector=[0, 0, 1], k=1)[0].item_id == "d"
        assert space.rollback() == 1
        assert stored(space, "e")["a"] == UNIT[0].tolist()

    def test_a_retry_of_the_quarantine_keeps_the_vector(self, tmp_path):
        encoders = {"image": ToyEncoder("image", dim=8, salt="image")}
        space = Space.create(tmp_path / "s", encoders, vectors={"e": 3})
        space.upsert(table(image=[str(tmp_path / "absent.png")] * 4), domain="points")
        assert len(space.quarantine()) == 4
        assert space.retry_quarantine().quarantined == 4
        assert stored(space, "e") == dict(zip(IDS, UNIT.tolist(), strict=True))
        assert space.search(vector=[0, 0, 1], k=1)[0].item_id == "d"

    def test_vectors_of_one_length_need_a_name(self, tmp_path):
        space = Space.create(tmp_path / "s", "none", vectors={"plot": 3, "cover": 3})
        both = table(f=POINTS[::-1].tolist())
        with pytest.raises(InvalidMapping, match="say which one"):
            space.upsert(both, domain="points", vector="e")
        space.upsert(both, domain="points", vectors={"plot": "e", "cover": "f"})
        with pytest.raises(InvalidInput, match="plot and cover have 3 numbers alike"):
            space.search(vector=[0, 0, 1])
        assert space.search(vector={"plot": [0, 0, 1]}, k=1)[0].item_id == "d"
        assert space.search(vector={"cover": [0, 0, 1]}, k=1)[0].item_id == "a"
        assert space.search_batch({"cover": [[0, 0, 1]]}, k=1).item_ids.tolist() == [["a"]]


class TestExport:
    def test_parquet_lance_and_numpy_have_the_same_vectors(self, bare, tmp_path):
        from isthmus.operations.request import VectorsRequest
        from isthmus.operations.vectors import export_vectors

        def export(name, **options):
            return export_vectors(bare.opened, tmp_path / name, VectorsRequest(**options))

        assert export("out.parquet", attributes=True).rows == 4
        rows = pq.read_table(tmp_path / "out.parquet")
        assert rows.column_names == ["item_id", "domain", "vector", "text", "image", "title"]
        assert rows["vector"].to_pylist() == UNIT.tolist()
        assert rows["title"].to_pylist() == [f"title {i}" for i in IDS]
        export("out.lance")
        assert lance.dataset(str(tmp_path / "out.lance")).to_table()["vector"].to_pylist() == (
            UNIT.tolist()
        )
        assert export("out.npy", where="title >= 'title c'").rows == 2
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), UNIT[2:])
        assert (tmp_path / "out.ids.txt").read_text() == "c\nd\n"
        with pytest.raises(InvalidInput, match="end it in"):
            export("out.txt")
        with pytest.raises(InvalidInput, match=r"no named vector 'text'"):
            export("out.parquet", names="text")

    def test_an_export_comes_back_unchanged(self, bare, tmp_path):
        copy = Space.create(tmp_path / "copy", "none", vectors={"vector": 3})
        assert copy.upsert(bare.vectors(attributes=True)).added == 4
        assert stored(copy) == stored(bare)
        assert copy.upsert(bare.vectors(attributes=True)).unchanged == 4

    def test_a_stream_reads_what_was_there_when_it_began(self, bare):
        reader = bare.vectors(names="vector")
        bare.delete(["a"])
        bare.compact(keep_days=0)
        assert reader.read_all()["item_id"].to_pylist() == IDS


def test_no_encoder_is_none_and_what_is_no_encoder_is_refused_by_its_type(tmp_path):
    dims = {"embedding": 4}
    spaces = [
        Space.create(tmp_path / str(encoder), encoder=encoder, vectors=dims)
        for encoder in (None, "none")
    ]
    assert spaces[0].fingerprint == spaces[1].fingerprint
    with pytest.raises(InvalidInput, match=r"an encoder is a spec .*; int is none of them"):
        Space.create(tmp_path / "wrong", encoder=5)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("recipe", ["HNSW SQ8", "IVF SQ8"])
def test_recall_is_promised_for_vectors_that_no_index_holds(tmp_path, monkeypatch, recipe):
    """Those of the kind of the items; a graph finds its own items far more easily."""
    monkeypatch.setattr(
        "isthmus.index.releases.build.suitable", lambda dim, on_gpu: [recipe_named(recipe)]
    )
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, 32)).astype(np.float32)
    all_ = centres[rng.integers(200, size=5_000)] + 1.4 * rng.standard_normal((5_000, 32))
    all_ = (all_ / np.linalg.norm(all_, axis=1, keepdims=True)).astype(np.float32)
    items, queries = all_[:4_000], all_[4_000:]
    space = Space.create(tmp_path / "s.space", "none", vectors={"v": 32})
    path = space.path / "space.toml"
    path.write_text(
        path.read_text()
        .replace("exact_bytes = 33554432", "exact_bytes = 0")
        .replace("exact_rows = 20000", "exact_rows = 0")
    )
    space = Space.open(space.path)
    space.upsert([{"item_id": str(n), "domain": "d"} for n in range(4_000)], vector=items)
    manifest = space.publish(recall=0.9)
    reported = {row.kind: row.recall for row in manifest.recall}
    assert reported["vector to item"] >= 0.9
    tenth = np.sort(queries @ items.T)[:, -10, None]
    found = space.search_batch(queries, k=10).scores
    assert (found >= tenth - 1e-5).mean() >= 0.88  # 0.9 and what so few can be off by
