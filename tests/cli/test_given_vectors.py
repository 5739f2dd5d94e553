"""Vectors that come with the items, and their export, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.integrations.chat_server import chat_server

IDS = ["a", "b", "c"]


def test_a_space_without_vectors_says_how_it_gets_them(run):
    created = run("create", "--space", "s.space", "--encoder", "none")
    remedy = "isthmus upsert FILES --vector COLUMN --space s.space"
    assert f"its first items bring them, with: {remedy}" in " ".join(created.stdout.split())


def test_from_a_file_with_vectors_to_a_file_with_vectors(run, run_json, tmp_path):
    points = [[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]
    pq.write_table(pa.table({"item_id": IDS, "p": points, "q": points[::-1]}), "items.parquet")
    arguments = ["--encoder", "none", "--vectors", "plot=2", "--vectors", "cover=2"]
    created = run_json("create", "--space", "s.space", *arguments)
    assert {name: v["dim"] for name, v in created["named_vectors"].items()} == {
        "plot": 2,
        "cover": 2,
    }
    upsert = ["upsert", "items.parquet", "--space", "s.space", "--domain", "films"]
    refused = run(*upsert, "--vectors", "plot")
    assert "--vectors plot: write NAME=384 for a length or NAME=COLUMN" in refused.stderr
    report = run_json(*upsert, "--vectors", "plot=p", "--vectors", "cover=q")
    assert (report["added"], report["mapping"]["films"]["vector plot"]) == (3, "p")
    assert run_json(*upsert)["unchanged"] == 3
    assert json.loads(run("get", "a", "--space", "s.space", "--json").stdout)["vectors"] == [
        "plot",
        "cover",
    ]

    written = run_json("export", "--space", "s.space", "--vectors", "o.npy", "--names", "plot")
    assert (written["rows"], written["ids"]) == (3, "o.ids.txt")
    np.testing.assert_allclose(np.load("o.npy"), [[0.6, 0.8], [0, 1], [1, 0]], atol=1e-7)
    several = run("export", "--space", "s.space", "--vectors", "o.npy")
    assert "choose one with --names plot" in several.stderr
    run_json("export", "--space", "s.space", "--vectors", "o.parquet")
    assert pq.read_table("o.parquet").column_names == ["item_id", "domain", "plot", "cover"]

    text = run("search", "boots", "--space", "s.space")
    assert text.returncode == 1
    assert "this space has no text encoder: its vectors are given" in text.stderr


def test_the_space_that_a_refused_text_search_recommends_answers_it(run, run_json):
    vectors = np.eye(3, 384).tolist()
    pq.write_table(pa.table({"item_id": IDS, "domain": ["x"] * 3, "v": vectors}), "items.parquet")
    run_json("create", "--space", "s.space", "--encoder", "none")
    run_json("upsert", "items.parquet", "--space", "s.space", "--vector", "v")
    refused = " ".join(run("search", "boots", "--space", "s.space").stderr.split())
    _, create, upsert = refused.split("isthmus ")[-3:]
    values = {"SPEC": "local/text", "FILES": "items.parquet", "COLUMN": "v", "NEW": "new.space"}
    for command in (create.removesuffix(", then "), upsert):
        for placeholder, value in values.items():
            command = command.replace(placeholder, value)
        run_json(*command.split())
    assert len(run_json("search", "boots", "--space", "new.space")["hits"]) == 3


def test_import_a_collection_then_enrich_and_rank_it(run, run_json, tmp_path):
    np.save("films.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "ids.txt").write_text("a\nb\nc\n")
    (tmp_path / "prompt.txt").write_text("Describe it.")
    imported = run_json("import", "films.npy", "--ids", "ids.txt", "--space", "s.space")
    assert (imported["created"], imported["domain"], imported["added"]) == (True, "films", 3)
    assert "holds no ids" in run("import", "films.npy", "--space", "s.space").stderr

    def write(data: dict) -> dict:
        if "words" in data:
            return {"profile": "likes " + data["words"]}
        if "items" in data:
            return {"order": [{"item": i["item"], "reason": "so"} for i in data["items"][::-1]]}
        return {"description": f"about {data['title']}", "mood": "calm"}

    update = [{"item_id": i, "title": f"film {i}"} for i in IDS]
    pq.write_table(pa.Table.from_pylist(update), "titles.parquet")
    run_json("update", "titles.parquet", "--space", "s.space")
    with chat_server(write) as server:
        model = ["--model", server.spec()]
        command = ["enrich", "--space", "s.space", "--domain", "films", *model]
        command += ["--prompt-file", "prompt.txt", "--fields", "mood=text"]
        assert run_json(*command, "--dry-run")["estimated_tokens"] > 0
        assert server.requests == []
        planned = run(*command, "--dry-run")
        assert "3 items, 0 of them with an answer; the other 3 take at most" in planned.stdout
        assert run_json(*command)["written"] == 3
        again = run(*command).stdout
        assert "3 items: 3 written, 3 of them from answers that were there; 0 without" in again
        failed = run(*command, "--fields", "place=text", "--model", server.spec(retries=0))
        assert "not written: a: " in failed.stderr
        assert "0 written, 0 of them from answers that were there; 3 without" in failed.stdout
        assert run_json("get", "a", "--space", "s.space")["attributes"]["ai_mood"] == "calm"
        assert run_json("profile", "rain", *model) == {"profile": "likes rain"}
    dropped = run_json("unenrich", "--space", "s.space", "--domain", "films")["dropped"]
    assert dropped == "ai_description, ai_mood, ai_source"
    assert run_json("get", "a", "--space", "s.space")["attributes"] == {"title": "film a"}
