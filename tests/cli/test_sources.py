"""Sources of a target as a user sees them: a table, sentences, JSON, refusals."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.recommender.noisy_world import catalogue, noisy_board, posts


@pytest.fixture
def shop(run_json, tmp_path):
    items = [*catalogue("films"), *catalogue("books"), *posts()]
    music = [{"item_id": f"music-{n}", "domain": "music", "text": f"note{n}"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist([*items, *music]), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(noisy_board()), tmp_path / "likes.parquet")
    run_json("create", "shop", "--encoder", "toy/words")
    run_json("add", "items.parquet", "--space", "shop")
    run_json("interactions", "add", "likes.parquet", "--space", "shop")
    return "shop"


def test_verdicts_for_people_and_programs(shop, run, run_json):
    found = run_json("sources", "--target", "books", "--space", shop)
    verdicts = {source["domain"]: source["lift"]["verdict"] for source in found["sources"]}
    assert list(verdicts.items()) == [
        ("films", "helps"),
        ("music", "unmeasured"),
        ("posts", "hurts"),
    ]
    said = " ".join(run("sources", "--target", "books", "--space", shop).stdout.split())
    assert "sources for books (48 items, 240 users, 960 interactions), best first" in said
    assert "films helps: NDCG@10 of 240 cold users is" in said
    assert "music cannot be measured (0 simulated cold users know it, 20 are needed)" in said
    assert "posts hurts, so training switches it off" in said


def test_without_measuring_there_are_counts_and_distances_alone(shop, run, run_json):
    asked = ("sources", "--target", "books", "--no-measure", "--space", shop)
    assert [source["lift"] for source in run_json(*asked)["sources"]] == [None] * 3
    said = run(*asked).stdout
    assert "posts" in said
    assert "hurts" not in said


def test_a_target_that_is_none_is_refused(shop, run):
    result = run("sources", "--target", "songs", "--space", shop)
    assert result.returncode == 1
    assert "no domain 'songs'; there are" in result.stderr


def test_a_number_of_trials_below_none_is_refused(shop, run):
    result = run("train", "--target", "books", "--tune", "-1", "--space", shop)
    assert result.returncode == 1
    assert "tune is -1; give 0 or more" in result.stderr
