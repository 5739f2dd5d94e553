"""Hybrid search, duplicates and files of queries, from the command line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FILMS = {
    "item_id": ["f1", "f2", "f3"],
    "text": ["sea storm", "jazz club XK-4711", "snow hill"],
    "year": [1990, 2000, 2010],
}
BOOKS = {"item_id": ["b1", "b2"], "text": ["sea storm", "robot"]}


@pytest.fixture
def shop(run_json, tmp_path):
    run_json("create", "--space", "shop", "--encoder", "toy/words")
    for domain, columns in {"films": FILMS, "books": BOOKS}.items():
        pq.write_table(pa.table(columns), tmp_path / f"{domain}.parquet")
        run_json("upsert", f"{domain}.parquet", "--space", "shop", "--domain", domain)


def test_hybrid_search(shop, run, run_json):
    hits = run_json("search", "4711", "--hybrid", "--space", "shop", "-k", 5)["hits"]
    assert len(hits) == 5
    assert "f2" in [hit["item_id"] for hit in hits[:2]]
    assert {"score", "similarity"} <= hits[0].keys()
    weighed = ("search", "4711", "--hybrid", "--bm25-weight", 9, "--space", "shop", "-k", 1)
    assert [hit["item_id"] for hit in run_json(*weighed)["hits"]] == ["f2"]
    refused = run("search", "x", "--hybrid", "--bm25-weight", -1, "--space", "shop")
    assert refused.returncode == 1
    assert "bm25_weight is -1.0" in refused.stderr


def test_map(shop, run, run_json, tmp_path):
    counts = run_json("map", "--space", "shop", "--out", "m.svg", "--table", "points.parquet")
    assert counts == {"vector_name": "text", "items": 5, "points": 5, "out": "m.svg"}
    assert "books" in (tmp_path / "m.svg").read_text()
    points = pq.read_table(tmp_path / "points.parquet").to_pylist()
    assert [row["item_id"] for row in points] == ["f1", "f2", "f3", "b1", "b2"]
    assert run_json("map", "-s", "shop", "--domain", "books")["out"] == "map.png"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    refused = run("map", "--space", "shop", "--out", "m.gif")
    assert refused.returncode == 1
    assert "give a name in .png, .svg, .pdf" in " ".join(refused.stderr.split())


def test_duplicates(shop, run, run_json, tmp_path):
    rows = run_json("duplicates", "--space", "shop")
    assert [(row["group"], row["item_id"], row["domain"]) for row in rows] == [
        (1, "b1", "books"),
        (1, "f1", "films"),
    ]
    assert run_json("duplicates", "--space", "shop", "--domain", "films") == []
    counts = run_json("duplicates", "--space", "shop", "--out", "d.parquet", "--threshold", 0.99)
    assert counts == {"groups": 1, "items": 2, "out": "d.parquet"}
    assert pq.read_table(tmp_path / "d.parquet").to_pylist() == rows
    shown = run("duplicates", "--space", "shop", "--where", "year is null or year < 2000")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "groups 1  items 2"
    refused = run("duplicates", "--space", "shop", "--threshold", 2)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("isthmus: threshold is 2")


def test_a_file_of_queries(shop, run, run_json, tmp_path):
    lines = [
        {"query_id": "a", "text": "snow hill"},
        {"query_id": "b", "text": ""},
        {"query_id": "c", "text": "robot"},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ("search-file", "q.jsonl", "--out", "out.parquet", "--space", "shop", "-k", 1)
    result = run(*arguments)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "queries 3  answered 2  rows 2  out out.parquet"
    assert "left out row 1, query 'b': nothing to search for" in result.stderr
    assert "warning: 1 of 3 queries left out" in result.stderr
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["query_id"], row["item_id"]) for row in found] == [("a", "f3"), ("c", "b2")]
    report = run_json(*arguments, "--domain", "films", "--where", "year > 2005")
    assert [problem["query_id"] for problem in report["problems"]] == ["b"]
    assert set(pq.read_table(tmp_path / "out.parquet")["item_id"].to_pylist()) == {"f3"}


def test_parquet_gets_no_name_of_another_format(shop, run, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"query_id": "a", "text": "snow hill"}')
    for name in ("out.csv", "out.JSONL"):
        refused = run("search-file", "q.jsonl", "--out", name, "--space", "shop", "-k", 1)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == (
            f"isthmus: {name} would be a Parquet file, whatever its name says; call it out.parquet"
        )
        assert not (tmp_path / name).exists()
    assert run("search-file", "q.jsonl", "--out", "out", "--space", "shop", "-k", 1).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("search-file", "q.parquet"),
        ("search", "x", "--out", "o.parquet"),
        ("search", "x", "--bm25-weight", 2),
        ("search",),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, arguments):
    assert run(*arguments, "--space", "s").returncode == 2


@pytest.mark.parametrize(
    "option",
    [
        ("--hubness-correction", 1),
        ("--center-scores",),
        ("--min-score", 0.5),
        ("--diversity", 0.5),
        ("--like", "f1"),
    ],
)
def test_options_that_a_file_of_queries_does_not_take_are_refused(run, option):
    refused = run("search-file", "q.parquet", "--out", "o.parquet", "--space", "s", *option)
    assert refused.returncode == 2
    assert f"No such option: {option[0]}" in " ".join(refused.stderr.split())
