"""Alignment from the command line."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tests.toy import COLOURS, picture


def write_pairs(folder) -> str:
    rows = [(f"{colour} thing{n}", colour, n) for colour in COLOURS for n in range(8)]
    for _, colour, n in rows:
        (folder / f"{colour}{n}.png").write_bytes(picture(colour, 4 + n))
    (folder / "torn.png").write_bytes(picture("red")[:40])
    titles = [title for title, _, _ in rows] + ["torn"]
    images = [f"{colour}{n}.png" for _, colour, n in rows] + ["torn.png"]
    pq.write_table(pa.table({"title": titles, "image": images}), folder / "pairs.parquet")
    return "pairs.parquet"


def test_align_lets_text_find_pictures(run, run_json, tmp_path):
    run_json("create", "shop", "--text-encoder", "toy/words", "--image-encoder", "toy/colours")
    wanted = {"item_id": ["a", "b"], "image": ["red1.png", "blue1.png"]}
    pairs = write_pairs(tmp_path)
    pq.write_table(pa.table(wanted), tmp_path / "items.parquet")
    run_json("add", "items.parquet", "--space", "shop", "--domain", "pictures")
    refused = run("search", "blue", "--space", "shop")
    assert refused.returncode == 1
    assert "isthmus align --pairs FILES --space shop" in refused.stderr
    report = run_json("align", "--pairs", pairs, "--text", "title", "--epochs", 2, "-s", "shop")
    assert report["pairs"] == {"pairs": 48}
    assert len(report["problems"]) == 1
    assert "pairs.parquet row 48" in report["problems"][0]
    found = run_json("search", "blue thing1", "--space", "shop", "-k", 1)
    assert [hit["item_id"] for hit in found] == ["b"]
    shown = run("align", "--pairs", pairs, "--text", "title", "--epochs", 1, "--space", "shop")
    assert "text to image" in shown.stdout
    assert "left out" in shown.stderr
