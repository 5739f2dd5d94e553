"""Distilling as a user runs it, with a toy teacher."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WORDS = ("red", "green", "blue", "shoe", "hat")


@pytest.fixture
def items(tmp_path):
    names = [(a, b, c) for a in WORDS for b in WORDS for c in WORDS]
    rows = [{"title": " ".join(n), "kind": n[0]} for n in names]
    pq.write_table(
        pa.Table.from_pylist([*rows, {"title": None}]),
        tmp_path / "items.parquet",
    )


ASK = ("distill", "--teacher", "toy/words", "--texts", "items.parquet", "--text", "{title}",
       "--out", "student", "--epochs", 2, "--batch-size", 16)  # fmt: skip


def test_a_student_and_its_report(items, run, tmp_path):
    shown = run(*ASK, "--label", "kind")
    assert shown.returncode == 0, shown.stderr
    for words in ("texts a second", "size, MiB", "recall@10", "NDCG@10 of the same label",
                  "126 rows read, 1 left out, 125 distinct",
                  "load_encoder('static/student')"):  # fmt: skip
        assert words in shown.stdout
    assert "left out row 125: is null" in shown.stderr
    assert "training the student" in shown.stderr
    report = json.loads((tmp_path / "student" / "distillation.json").read_text())
    assert len(report["losses"]) == 2


def test_recommendation_is_measured_where_interactions_are_given(run, tmp_path):
    names = [(a, b, c) for a in WORDS for b in WORDS for c in WORDS]
    rows = [{"item_id": "".join(n), "title": " ".join(n)} for n in names]
    liked = [{"user_id": a + b, "item_id": a + b + c} for a, b, c in names]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(liked), tmp_path / "liked.parquet")
    shown = run(*ASK, "--interactions", "liked.parquet", "--held-out", 0.2)
    assert shown.returncode == 0, shown.stderr
    assert "NDCG@10 of new items" in shown.stdout
    report = json.loads((tmp_path / "student" / "distillation.json").read_text())
    assert 0 < report["recommendation"]["ndcg_teacher"] <= 1


def test_json_and_a_space_made_with_the_student(items, run, run_json):
    report = run_json(*ASK)
    assert report["student"] == "static/student"
    assert report["quality"]["ndcg_teacher"] is None
    made = run("create", "--space", "shop", "--text-encoder", report["student"])
    assert made.returncode == 0, made.stderr
    added = run("upsert", "items.parquet", "--space", "shop", "--id", "{title}", "--domain", "shop",
                "--text", "{title}", "--skip-invalid")  # fmt: skip
    assert added.returncode == 0, added.stderr
    hits = run_json("search", "red shoe hat", "--space", "shop", "-k", 1)["hits"]
    assert set(hits[0]["item_id"].split()) == {"red", "shoe", "hat"}


def test_what_is_wrong_is_one_line(items, run):
    assert "give either --texts or --images" in run("distill", "--out", "x").stderr
    refused = run(*ASK, "--storage", "int4")
    assert refused.returncode == 1
    assert "storage is 'int4'; give one of 'int8'" in refused.stderr
    unused = run(*ASK, "--student", "timm/test_vit", "--max-words", 5)
    assert (unused.returncode, "--max-words is for a static student" in unused.stderr) == (2, True)
    nowhere = run(*ASK, "--device", "tpu")
    assert (nowhere.returncode, "'tpu'" in nowhere.stderr) == (1, True)
