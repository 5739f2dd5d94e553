"""Training and recommending as a user runs them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.recommender.worlds import ITEMS_A_TASTE, TASTES, board, name, taste_of

QUICK = ("--folds", 1, "--epochs", 4, "--no-guard", "--leave-out", "two towers",
         "--leave-out", "factors")  # fmt: skip


@pytest.fixture
def shop(run_json, tmp_path):
    rows = [
        {"item_id": name(d, t, n), "domain": d, "text": f"{d}word{t} {d}{t}x{n}"}
        for d in ("films", "books")
        for t in range(TASTES)
        for n in range(ITEMS_A_TASTE)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(board(80)), tmp_path / "likes.parquet")
    run_json("create", "shop", "--encoder", "toy/words")
    run_json("add", "items.parquet", "--space", "shop")
    run_json("interactions", "add", "likes.parquet", "--space", "shop")
    return "shop"


def test_from_training_to_lists(shop, run, run_json, tmp_path):
    shown = run("train", "--target", "books", *QUICK, "--space", shop)
    assert shown.returncode == 0, shown.stderr
    said = " ".join(shown.stdout.split())
    for words in ("books: NDCG@10 of simulated users", "best source alone", "new items", "all",
                  "make it current with: isthmus publish"):  # fmt: skip
        assert words in said
    made = run_json("publish", "--space", shop)
    assert made["accepted"]
    assert "recommender/recommender.json" in made["attached"]

    asked = ("recommend", "--space", shop, "--domain", "books", "-k", 4)
    stored = run_json(*asked, "--user", "u3")
    assert len(stored) == 4
    clicked = run_json(*asked, "--click", name("films", 5, 0), "--click", name("films", 5, 1))
    assert taste_of(clicked[0]["item_id"]) == 5
    explained = run_json(*asked, "--user", "u3", "--explain")
    assert [hit["item_id"] for hit in explained] == [hit["item_id"] for hit in stored]
    reasons = explained[0]["explanation"]
    assert reasons["popularity"] + reasons["personal"] == pytest.approx(reasons["score"], abs=1e-4)
    shown = run(*asked, "--user", "u3", "--explain")
    assert shown.returncode == 0, shown.stderr
    for words in ("popularity", "because of", "found by", "rank 1)"):
        assert words in shown.stdout

    users = [{"user_id": "u3", "history": []}, {"user_id": "x", "history": [name("films", 5, 0)]}]
    pq.write_table(pa.Table.from_pylist(users), tmp_path / "users.parquet")
    counts = run_json(*asked, "--users", "users.parquet", "--out", "lists.parquet")
    assert counts == {"users": 2, "rows": 8, "out": "lists.parquet"}
    lists = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    assert [row["item_id"] for row in lists if row["user_id"] == "u3"] == [
        hit["item_id"] for hit in stored
    ]
    run_json("train", "--target", "films", *QUICK, "--space", shop)
    kept = run_json("publish", "--keep-recommender", "--space", shop)
    assert [name for name in kept["attached"] if "head" in name] == [
        name for name in made["attached"] if "head" in name
    ]
    assert [h["item_id"] for h in run_json(*asked, "--user", "u3")] == [
        hit["item_id"] for hit in stored
    ]


def test_refusals_say_what_to_do(shop, run):
    for arguments, code, said in (
        (("train", "--target", "songs"), 1, "no domain 'songs'; there are books, films"),
        (("train", "--loss", "hinge"), 1, "no loss 'hinge'; there are listwise, pairwise"),
        (("train", "--leave-out", "luck"), 1, "no source 'luck' to leave out"),
        (("recommend", "--user", "u3", "--explain"), 1, "explanations need a trained head: isth"),
        (("recommend", "--users", "u.parquet"), 2, "--users and --out go together"),
        (("recommend", "--users", "u", "--out", "o", "--user", "u3"), 2, "not both"),
        (("recommend", "--users", "u", "--out", "o", "--explain"), 2, "for one user"),
    ):
        refused = run(*arguments, "--space", shop)
        assert refused.returncode == code, arguments
        assert said in " ".join(refused.stderr.split())
