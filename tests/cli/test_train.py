"""Training and recommending as a user runs them."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.recommend.worlds import name, taste_of

QUICK = ("--cross-fitting-folds", 1, "--epochs", 2, "--no-check-source-domains",
         "--exclude-generators", "two-tower", "ALS")  # fmt: skip
ASK = ("recommend", "--space", "shop", "--domain", "books", "-k", 4)


@pytest.fixture
def shop(board, tmp_path):
    shutil.copytree(board.path, tmp_path / "shop")


def ids(hits):
    return [hit["item_id"] for hit in hits]


def test_lists_and_their_reasons(shop, run, run_json, tmp_path):
    stored = run_json(*ASK, "--user", "u3", "--explain")["hits"]
    assert len(stored) == 4
    explanation = stored[0]["explanation"]
    assert explanation["popularity"] + explanation["personal"] == pytest.approx(
        explanation["score"], abs=1e-4
    )
    shown = run(*ASK, "--user", "u3", "--explain")
    assert shown.returncode == 0, shown.stderr
    for words in ("popularity", "because of", '1. "', ' because of "', "found by", "(rank "):
        assert words in shown.stdout
    clicked = run_json(*ASK, "--clicks", name("films", 5, 0), "--clicks", name("films", 5, 1))[
        "hits"
    ]
    assert taste_of(clicked[0]["item_id"]) == 5

    users = [{"user_id": "u3", "history": []}, {"user_id": "x", "history": [name("films", 5, 0)]}]
    pq.write_table(pa.Table.from_pylist(users), tmp_path / "users.parquet")
    counts = run_json("recommend-file", "users.parquet", "--out", "lists.parquet", *ASK[1:])
    assert counts == {"users": 2, "rows": 8, "unknown_users": 0, "out": "lists.parquet"}
    rows = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    assert [row["item_id"] for row in rows if row["user_id"] == "u3"] == ids(stored)


def test_training_and_publishing(shop, run, run_json):
    before = run_json(*ASK, "--user", "u3")["hits"]
    shown = run("train", "--targets", "books", *QUICK, "--distilled-units", 8, "--space", "shop")
    assert shown.returncode == 0, shown.stderr
    said = " ".join(shown.stdout.split())
    for words in ("books: NDCG@10 of simulated users", "best generator alone", "all",
                  "distilled, kept", "times as fast",
                  "make it current with: isthmus publish --space shop"):  # fmt: skip
        assert words in said
    kept = run_json("publish", "--keep-recommender", "--space", "shop")
    assert kept["accepted"]
    rankers = [path for path in kept["attached"] if "ranker" in path]
    assert rankers == ["recommender/ranker-0.safetensors", "recommender/ranker-1.safetensors"]
    assert ids(run_json(*ASK, "--user", "u3")["hits"]) == ids(before)


def test_a_user_of_whom_nothing_is_stored_is_answered_with_a_word_about_it(shop, run):
    known, unknown = run(*ASK, "--user", "u3"), run(*ASK, "--user", "u3x", "--json")
    assert known.returncode == unknown.returncode == 0
    said = "no interactions of user 'u3x' with items of this space are stored"
    assert said in " ".join(unknown.stderr.split())
    assert "no interactions" not in known.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("train", "--targets", "songs"), 1, "no domain 'songs'; there are books, films"),
        (("recommend-file", "u", "--out", "o", "--explain"), 2, "No such option: --explain"),
        (("recommend-file", "u", "--out", "o", "--sheet", "s.png"), 2, "No such option: --sheet"),
        (("recommend-file", "u", "--out", "o", "--user", "u3"), 2, "No such option: --user"),
        (("recommend", "--user", "u3", "--processes", 2), 2, "No such option: --processes"),
        (
            ("predict-ratings", "films-0-0", "--user", "u3"),
            1,
            "has no model of values; add interactions whose",
        ),
    ],
)
def test_refusals_say_what_there_is(shop, run, arguments, code, said):
    refused = run(*arguments, "--space", "shop")
    assert refused.returncode == code
    assert said in " ".join(refused.stderr.replace("│", " ").split())
