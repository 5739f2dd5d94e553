"""Evaluations as a user runs them: figures, files, refusals, a kill on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import COMMAND
from tests.retrieval.evaluation.shops import EACH, THEMES, ratings

ASK = ("evaluate", "--space", "shop", "--targets", "books", "--systems", "interests")


@pytest.fixture
def shop(run_json, tmp_path):
    names = [
        (f"{d[0]}-{theme.split()[0]}-{n}", d, f"{theme} {d}{n}")
        for d in ("films", "books")
        for theme in THEMES
        for n in range(EACH)
    ]
    columns = zip(*names, strict=True)
    items = dict(zip(("item_id", "domain", "text"), map(list, columns), strict=True))
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    pq.write_table(pa.Table.from_pylist(ratings(240)), tmp_path / "ratings.parquet")
    run_json("create", "--space", "shop", "--encoder", "toy/words")
    run_json("upsert", "items.parquet", "--space", "shop")
    return "shop"


@pytest.fixture
def rated(shop, run_json):
    run_json("interactions", "add", "ratings.parquet", "--space", shop)
    return shop


def test_figures_for_people_and_programs(rated, run, run_json, tmp_path):
    arguments = (*ASK, "--protocols", "warm", "rating", "--baselines", "popularity", "item-KNN",
             "offsets", "--quick")  # fmt: skip
    shown = run(*arguments, "--out", "card")
    assert shown.returncode == 0, shown.stderr
    for words in (
        "warm books (val)", "warm books (test)", "ratings of books (test)", "item-KNN",
        "interests", "offsets", "over (b) is the ratio to the best baseline", "36 candidates",
    ):  # fmt: skip
        assert words in shown.stdout
    printed = run_json(*arguments)
    assert [task["name"] for task in printed["tasks"][1::2]] == ["warm books", "ratings of books"]
    names = [[system["name"] for system in task["systems"]] for task in printed["tasks"][1::2]]
    assert names == [["popularity", "item-KNN", "interests"], ["offsets"]]
    kept = json.loads((tmp_path / "card/evaluation.json").read_text())
    for one, other in zip(kept["tasks"], printed["tasks"], strict=True):
        assert one["facts"] == other["facts"]
        metrics = [[system["metrics"] for system in task["systems"]] for task in (one, other)]
        assert metrics[0] == metrics[1]
    page = (tmp_path / "card/evaluation.html").read_text()
    assert "<svg" in page
    assert "positive from: 4" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_skipped_protocols_are_printed(rated, run, tmp_path):
    arguments = (*ASK, "--protocols", "warm", "--protocols", "few30", "--baselines", "popularity")
    shown = run(*arguments, "--quick", "--out", "card")
    assert shown.returncode == 0, shown.stderr
    assert "few30 books skipped: the protocol '30 shots in books' hides nothing" in shown.stdout
    assert "few30 books" in (tmp_path / "card/evaluation.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--protocols", "hot"), "no protocol 'hot'; there are cold, few1, few3, few5, warm"),
        (("--baselines", "warm"), "no baseline 'warm'; there are random, popularity, item-KNN"),
        (("--positive-from", "9", "--protocols", "warm"), "no value reaches 9"),
        (("--targets", "songs"), "no domain 'songs' in this space; its domains are: books, films"),
        (("--folders", "absent"), "a target goes with protocols"),
        (("--folders", "absent", "--protocols", "few30"), "there is no absent/val.parquet"),
    ],
)
def test_refusals_say_what_there_is(rated, run, arguments, said):
    refused = run(*ASK, *arguments)
    assert refused.returncode == 1
    assert said in refused.stderr


def test_without_interactions_it_says_what_to_do(shop, run):
    refused = run("evaluate", "--space", shop)
    assert refused.returncode == 1
    assert f"add some with: isthmus interactions add FILES --space {shop}" in refused.stderr


def test_a_killed_evaluation_goes_on(rated, run_json, environment, tmp_path):
    arguments = (
        *ASK,
        "--protocols",
        "warm",
        "cold",
        "--baselines",
        "popularity",
        "item-KNN",
        "EASE",
    )
    command = [str(COMMAND), *arguments, "--out", "card"]
    folder = tmp_path / "card/cache"

    def finished():
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}

    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as job:
        while len(finished()) < 5 and job.poll() is None:
            time.sleep(0.002)
        job.send_signal(signal.SIGKILL)
    before = finished()
    assert len(before) >= 5
    assert not (tmp_path / "card/evaluation.json").exists()
    resumed = run_json(*arguments, "--out", "card")
    after = finished()
    assert {name: after[name] for name in before} == before  # none was written again
    assert len(after) > len(before)
    fresh = run_json(*arguments)
    for one, other in zip(resumed["tasks"], fresh["tasks"], strict=True):
        assert [s["metrics"] for s in one["systems"]] == [s["metrics"] for s in other["systems"]]
        assert one["comparisons"] == other["comparisons"]
