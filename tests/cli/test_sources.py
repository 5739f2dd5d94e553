"""Sources of a target as a user sees them: tables, sentences, JSON."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.recommend.noisy_world import catalogue, noisy_board, posts


@pytest.fixture
def shop(run_json, tmp_path):
    items = [*catalogue("films"), *catalogue("books"), *posts()]
    music = [{"item_id": f"music-{n}", "domain": "music", "text": f"note{n}"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist([*items, *music]), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(noisy_board()), tmp_path / "likes.parquet")
    run_json("create", "--space", "shop", "--encoder", "toy/words")
    run_json("upsert", "items.parquet", "--space", "shop")
    run_json("interactions", "add", "likes.parquet", "--space", "shop")
    return "shop"


def test_verdicts_for_people_and_counts_for_programs(shop, run, run_json):
    result = run("source-domains", "--target", "books", "--space", shop)
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "sources for books (48 items, 240 users, 960 interactions), best first" in said
    sentences = (
        "films helps: NDCG@10 of 240 cold users is",
        "music cannot be measured (0 simulated cold users know it, 20 are needed)",
        "posts hurts, so training switches it off",
    )
    places = [said.index(sentence) for sentence in sentences]
    assert places == sorted(places)
    counted = run_json("source-domains", "--target", "books", "--no-measure", "--space", shop)
    assert [source["lift"] for source in counted["sources"]] == [None] * 3
    assert {s["domain"]: s["quality"]["items"] for s in counted["sources"]} == {
        "films": 48,
        "music": 3,
        "posts": 48,
    }


def test_fewer_than_no_trials_are_refused(run):
    result = run("train", "--tuning-trials", "-1", "--space", "shop")
    assert result.returncode == 2
    assert "--tuning-trials" in result.stderr
