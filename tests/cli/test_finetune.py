"""Fine-tuning an encoder and moving a space to it, as a user runs them, with a tiny model."""

from __future__ import annotations

import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.encoders import models

WORDS = ("red", "green", "blue", "shoe", "hat", "zorb")
QUICK = (
    "--epochs",
    2,
    "--batch-size",
    16,
    "--learning-rate",
    0.003,
    "--validation",
    0.2,
    "--held-out",
    0.3,
)


@pytest.fixture
def start(tmp_path):
    models.bert_folder(tmp_path / "start")
    return "transformers/./start"


@pytest.fixture
def pairs(tmp_path):
    rows = [
        {"first": f"a {a} {b} {c}", "second": f"{c} of {a} {b}"}
        for a, b, c in itertools.permutations(WORDS, 3)
    ]
    pq.write_table(pa.Table.from_pylist([*rows, {"first": None}]), tmp_path / "pairs.parquet")
    (tmp_path / "letters.txt").write_text("\n".join(f"letter {n}" for n in range(60)))


def test_tune_by_pairs_and_move_a_space_to_it(start, pairs, run, run_json, tmp_path):
    shown = run("finetune", "--encoder", start, "--pairs", "pairs.parquet",
                "--text", "first", "--other", "second", "--others", "letters.txt",
                "--out", "tuned", *QUICK)  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for words in ("share of the change", "letters kept", "NDCG after / before", "(taken)",
                  "120 pairs of 240 contents", "load_encoder('transformers/tuned')"):  # fmt: skip
        assert words in shown.stdout
    assert "left out row 120: is null" in shown.stderr
    assert "fine-tuning" in shown.stderr
    made = json.loads((tmp_path / "tuned" / "finetuning.json").read_text())
    assert run("create", "--space", "shop", "--text-encoder", start).returncode == 0
    assert run("upsert", "pairs.parquet", "--space", "shop", "--id", "{first}", "--domain", "shop",
               "--text", "{first}", "--skip-invalid").returncode == 0  # fmt: skip
    assert run("publish", "--space", "shop").returncode == 0
    moved = run("reembed", "--space", "shop", "--text-encoder", made["after"])
    assert moved.returncode == 0, moved.stderr
    assert "encoded 120 text" in moved.stdout
    assert "release 2 is current" in moved.stdout
    hits = run_json("search", "a red blue hat", "--space", "shop", "-k", 1)["hits"]
    assert hits[0]["item_id"] == "a red blue hat"
    assert run_json("rollback", "--space", "shop") == {"current": 1}
    assert run_json("search", "a red blue hat", "--space", "shop", "-k", 1) != []
    again = run_json("reembed", "--space", "shop", "--text-encoder", made["after"])
    assert (again["encoded"], again["release"]) == ({"text": 0}, 3)


def test_what_is_wrong_is_one_line(run, tmp_path):
    (tmp_path / "shop").mkdir()
    for arguments, words in (
        ((), "give either --space and --target, or --pairs"),
        (("--space", "shop"), "name the domain of the space to learn from with --target"),
        (
            ("--pairs", "x.csv", "--method", "dora"),
            "method is 'dora'; give one of 'lora' or 'full'",
        ),
    ):
        refused = run("finetune", "--out", "tuned", *arguments)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_options_that_would_be_passed_over_are_refused(run, tmp_path):
    (tmp_path / "shop").mkdir()
    for arguments, words in (
        (("--space", "shop", "--target", "x", "--other", "y"), "--other is for --pairs"),
        (("--pairs", "x.csv", "--target", "y"), "--target is for --space"),
        (("--pairs", "x.csv", "--min-common-users", 1), "--min-common-users is for --space"),
        (("--pairs", "x.csv", "--label", "y"), "--label is for --others"),
    ):
        refused = run("finetune", "--out", "tuned", *arguments)
        assert refused.returncode == 2
        assert words in refused.stderr
