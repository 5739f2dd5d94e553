"""A file of queries in, a file of results out."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput
from isthmus.index.catalog.content_encoding import FILES_PER_BATCH
from tests.toy import item, picture, text_encoder


@pytest.fixture
def shop(space):
    space.upsert(
        [
            item("f1", "sea storm", image=picture("red"), year=1990),
            item("f2", "jazz club", image=picture("blue"), year=2000),
            item("f3", "snow hill", year=2010),
            item("b1", "sea voyage", "books", year=2020),
        ]
    )
    return space


def lists(path):
    """Results by query: item ids, ranks and scores."""
    table = pq.read_table(path)
    assert table.schema.names == ["query_id", "item_id", "rank", "score"]
    assert [str(t) for t in table.schema.types] == ["string", "string", "int32", "float"]
    found = {}
    for row in table.to_pylist():
        found.setdefault(row["query_id"], []).append(row)
    for rows in found.values():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    return {
        name: [(row["item_id"], pytest.approx(row["score"], abs=1e-6)) for row in rows]
        for name, rows in found.items()
    }


def listed(hits):
    return [(hit.item_id, hit.score) for hit in hits]


def test_every_kind_of_query_finds_the_same_as_a_single_search(shop, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/blue.png").write_bytes(picture("blue", 5))
    vector = text_encoder().encode(["snow hill"])[0] * 3
    rows = [
        {"query_id": "text", "text": "sea storm"},
        {"query_id": "image", "image": "p/blue.png"},
        {"query_id": "both", "text": "jazz club", "image": "p/blue.png"},
        {"query_id": "vector", "vector": vector.tolist()},
    ]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(COLUMNS)), tmp_path / "q.parquet")
    report = shop.search_file(tmp_path / "q.parquet", tmp_path / "out.parquet", k=3)
    blue = tmp_path / "p/blue.png"
    found = lists(tmp_path / "out.parquet")
    assert found == {
        "text": listed(shop.search("sea storm", k=3)),
        "image": listed(shop.search(image=blue, k=3)),
        "both": listed(shop.search("jazz club", image=blue, k=3)),
        "vector": listed(shop.search(vector=vector, k=3)),
    }
    assert [found[name][0][0] for name in found] == ["f1", "f2", "f2", "f3"]
    assert (report.queries, report.answered, report.problems) == (4, 4, [])
    assert report.rows == sum(map(len, found.values())) == 11, "two items have a picture"
    assert not list(tmp_path.glob(".*"))


COLUMNS = [
    ("query_id", pa.string()),
    ("text", pa.string()),
    ("image", pa.string()),
    ("vector", pa.list_(pa.float32())),
]


def test_a_bad_query_stops_no_other(shop, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    unit = [1.0] + [0.0] * 63
    rows = [
        {"query_id": "good", "text": "snow hill"},
        {"query_id": "lost", "image": "nowhere.png"},
        {"query_id": "broken", "text": "sea", "image": "broken.png"},
        {"query_id": "nan", "vector": [float("nan")] + [0.0] * 63},
        {"query_id": "zero", "vector": [0.0] * 64},
        {"query_id": "short", "vector": [1.0, 2.0]},
        {"query_id": "all", "text": "sea", "vector": unit},
        {"query_id": "empty", "text": "  "},
        {"query_id": "http", "image": "https://example.org/a.png"},
        {"query_id": "fine", "vector": unit},
    ]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(COLUMNS)), tmp_path / "q.parquet")
    report = shop.search_file(tmp_path / "q.parquet", tmp_path / "out.parquet", k=1)
    assert list(lists(tmp_path / "out.parquet")) == ["good", "fine"]
    assert (report.queries, report.answered, report.rows) == (10, 2, 2)
    reasons = {problem.query_id: (problem.row, problem.reason) for problem in report.problems}
    expected = {
        "lost": (1, "no file"),
        "broken": (2, "not an image"),
        "nan": (3, "norm nan"),
        "zero": (4, "norm 0"),
        "short": (5, "shape (2,)"),
        "all": (6, "not by all"),
        "empty": (7, "nothing to search for"),
        "http": (8, "switched off"),
    }
    assert reasons.keys() == expected.keys()
    for name, (row, part) in expected.items():
        assert reasons[name][0] == row
        assert part in reasons[name][1]
    assert str(report.problems[0]).startswith("row 1, query 'lost': no file")


def test_texts_are_encoded_in_batches(tmp_path, monkeypatch):
    encoder = text_encoder()
    space = Space.create(tmp_path / "s", encoder)
    space.upsert([item(str(n), f"word{n}") for n in range(20)])
    sizes = []
    embed = encoder.embed
    monkeypatch.setattr(
        encoder, "embed", lambda batch, modality: sizes.append(len(batch)) or embed(batch, modality)
    )
    monkeypatch.setattr("isthmus.retrieval.search.query_file.BATCH_SIZE", 8)
    queries = [{"query_id": n, "text": f"word{n}"} for n in range(20)]
    report = space.search_file(queries, tmp_path / "out.parquet", k=1)
    assert sizes == [8, 8, 4]
    assert report.rows == 20
    found = lists(tmp_path / "out.parquet")
    assert all(rows == [(name, pytest.approx(1))] for name, rows in found.items())


def test_images_are_encoded_in_batches_around_bad_ones(shop, tmp_path, monkeypatch):
    monkeypatch.setitem(FILES_PER_BATCH, "image", 3)
    colours = ["red", "blue", "bad", "bad", "bad", "bad", "blue", "red"]
    queries = [
        {"query_id": f"{n}", "image": b"?" if colour == "bad" else picture(colour, 9)}
        for n, colour in enumerate(colours)
    ]
    report = shop.search_file(queries, tmp_path / "out.parquet", k=1)
    found = {name: rows[0][0] for name, rows in lists(tmp_path / "out.parquet").items()}
    assert found == {"0": "f1", "1": "f2", "6": "f2", "7": "f1"}
    assert [problem.row for problem in report.problems] == [2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_csv_and_json_lines_are_read_too(shop, tmp_path, kind):
    (tmp_path / "red.png").write_bytes(picture("red"))
    vector = [round(float(x), 6) for x in text_encoder().encode(["jazz club"])[0]]
    rows = [
        {"query_id": "007", "text": "snow hill", "image": None, "vector": None},
        {"query_id": "8", "text": None, "image": "red.png", "vector": None},
        {"query_id": "9", "text": None, "image": None, "vector": vector},
    ]
    path = tmp_path / f"q.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = ["query_id,text,image,vector"]
        lines += ["007,snow hill,,", "8,,red.png,", f'9,,,"{json.dumps(vector)}"']
        path.write_text("\n".join([*lines, '10,,,"[1, 2"', '11,,,"{}"']))
    report = shop.search_file(path, tmp_path / "out.parquet", k=1)
    found = {name: rows[0][0] for name, rows in lists(tmp_path / "out.parquet").items()}
    assert found == {"007": "f3", "8": "f1", "9": "f2"}
    assert len(report.problems) == (2 if kind == "csv" else 0)
    assert all("list of numbers" in problem.reason for problem in report.problems)


def test_k_domains_and_filters_hold(shop, tmp_path):
    out = tmp_path / "out.parquet"
    queries = pa.table({"query_id": [1, 2], "text": ["sea storm", "snow"]})
    shop.search_file(queries, out, k=1, domain="books")
    assert {rows[0][0] for rows in lists(out).values()} == {"b1"}
    shop.search_file(queries, out, k=9, domain=["films"], where="year < 2010")
    assert [{name for name, _ in rows} for rows in lists(out).values()] == [{"f1", "f2"}] * 2
    with pytest.raises(InvalidInput, match="k is 0"):
        shop.search_file(queries, out, k=0)
    with pytest.raises(InvalidFilter):
        shop.search_file(queries, out, where="nothing = 1")
    with pytest.raises(InvalidInput, match="no domain"):
        shop.search_file(queries, out, domain="music")


def test_a_space_without_images_reports_the_query(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert([item("a", "sea")])
    queries = [{"query_id": "p", "image": picture("red")}, {"query_id": "t", "text": "sea"}]
    report = space.search_file(
        pa.Table.from_pylist(
            queries, pa.schema([("query_id", "string"), ("text", "string"), ("image", "binary")])
        ),
        tmp_path / "out.parquet",
    )
    assert report.answered == 1
    assert "no image encoder" in report.problems[0].reason


def test_no_queries_make_an_empty_file(shop, tmp_path):
    queries = pa.schema(COLUMNS).empty_table()
    report = shop.search_file(queries, tmp_path / "out.parquet")
    assert (report.queries, report.rows) == (0, 0)
    assert lists(tmp_path / "out.parquet") == {}


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({"query_id": ["a", "b", "a"], "text": ["x"] * 3}, r"row 2: query_id 'a' .* in row 0"),
        ({"query_id": ["a", None], "text": ["x"] * 2}, "row 1: query_id is missing; an id is text"),
        ({"query_id": ["a", " "], "text": ["x"] * 2}, "row 1: query_id is empty; an id is text"),
        ({"text": ["x"]}, "no column 'query_id'; it has: text"),
        ({"query_id": ["a"], "words": ["x"]}, "no column text, image, audio, vector"),
        ({"query_id": [1.5], "text": ["x"]}, "'query_id' is double; give text or integers"),
        ({"query_id": ["a"], "vector": [1.5]}, "'vector' is double; give lists of numbers"),
        ({"query_id": ["a"], "text": [["x"]]}, "'text' is list"),
        ({"query_id": ["a"], "image": [1]}, "'image' is int64"),
    ],
)
def test_invalid_query_files_are_refused(shop, tmp_path, queries, message):
    out = tmp_path / "out.parquet"
    out.write_text("kept")
    with pytest.raises(InvalidInput, match=message):
        shop.search_file(pa.table(queries), out)
    assert out.read_text() == "kept"
    assert not list(tmp_path.glob(".*.part"))


def test_a_failure_leaves_the_old_results(shop, tmp_path, monkeypatch):
    out = tmp_path / "out.parquet"
    shop.search_file([{"query_id": "a", "text": "sea"}], out, k=1)
    before = out.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.retrieval.search.searcher.search_top_k", fail)
    with pytest.raises(KeyboardInterrupt):
        shop.search_file([{"query_id": "b", "text": "snow"}], out, k=1)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_a_folder_that_is_not_there_is_refused_before_anything_is_encoded(shop, tmp_path):
    encoded = len(shop.opened.encoder_of("text").encoded)
    with pytest.raises(InvalidInput, match="cannot write"):
        shop.search_file([{"query_id": "a", "text": "sea"}], tmp_path / "no/out.parquet")
    assert len(shop.opened.encoder_of("text").encoded) == encoded


def test_scores_are_those_of_the_vectors(shop, tmp_path):
    vectors = text_encoder().encode(["sea storm", "sea voyage"])
    queries = pa.table({"query_id": ["x"], "vector": pa.array([vectors[0].tolist()])})
    shop.search_file(queries, tmp_path / "out.parquet", k=4)
    found = dict(lists(tmp_path / "out.parquet")["x"])
    assert found["f1"] == pytest.approx(1)
    assert found["b1"] == pytest.approx(float(np.dot(*vectors)))
