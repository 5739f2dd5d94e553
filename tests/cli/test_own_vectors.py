"""Vectors that come with the items, and their export, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

IDS = ["a", "b", "c"]


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
