"""Alignment from the command line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from tests.toy import COLOURS, picture

TOYS = ("--text-encoder", "toy/words", "--image-encoder", "toy/colours")


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
    run_json("create", "--space", "shop", *TOYS)
    columns = {"item_id": ["a", "b"], "image": ["red1.png", "blue1.png"]}
    pairs = write_pairs(tmp_path)
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    run_json("upsert", "items.parquet", "--space", "shop", "--domain", "pictures")
    refused = run("search", "blue", "--space", "shop")
    assert refused.returncode == 1
    assert f"isthmus align --pairs FILES --space {tmp_path / 'shop'}" in refused.stderr
    report = run_json("align", "--pairs", pairs, "--text", "title", "--epochs", 2, "-s", "shop")
    assert report["pairs"] == {"pairs": 48}
    assert len(report["problems"]) == 1
    assert "pairs.parquet row 48" in report["problems"][0]
    found = run_json("search", "blue thing1", "--space", "shop", "-k", 1)
    assert [hit["item_id"] for hit in found["hits"]] == ["b"]
    shown = run("align", "--pairs", pairs, "--text", "title", "--epochs", 1, "--space", "shop")
    assert "text to image" in shown.stdout
    assert "left out" in shown.stderr


def test_several_files_are_several_sets_and_settings_are_options(run_json, run, tmp_path):
    pairs = write_pairs(tmp_path)
    (tmp_path / "more.parquet").write_bytes((tmp_path / pairs).read_bytes())
    run_json("create", "--space", "shop", *TOYS)
    options = ("--epochs", 1, "--batch-size", 512, "--modality-dropout", 0.5, "--no-experts")
    ask = ("align", "-s", "shop", "--pairs", pairs, "more.parquet", "--text", "title", *options)
    report = run_json(*ask)
    assert report["pairs"] == {"pairs": 48, "more": 48}
    (made,) = (tmp_path / "shop" / "alignments").iterdir()
    settings = json.loads((made / "alignment.json").read_text())["report"]["settings"]
    assert (settings["batch_size"], settings["modality_dropout"]) == (512, 0.5)
    assert not settings["experts"]
    (tmp_path / "a").mkdir()
    (tmp_path / "more.parquet").rename(tmp_path / "a" / pairs)
    titles = pa.table({"title": ["red thing1"] * 2, "image": ["../red1.png", "../blue1.png"]})
    pq.write_table(titles, tmp_path / "a" / pairs)
    report = run_json("align", "-s", "shop", "--pairs", pairs, f"a/{pairs}", *ask[6:])
    assert report["pairs"] == {pairs: 48, f"a/{pairs}": 2}
    refused = run("align", "-s", "shop", "--pairs", pairs, "--hard-negatives", 2)
    assert (refused.returncode, "hard_negatives is 2.0" in refused.stderr) == (1, True)
    unused = run("align", "-s", "shop", "--text", "title")
    assert (unused.returncode, "--text is for --pairs" in unused.stderr) == (2, True)


def test_an_alignment_is_given_to_a_space_or_left_out(run_json, run, tmp_path):
    run_json("create", "--space", "shop", *TOYS)
    learn = ("align", "-s", "shop", "--pairs", write_pairs(tmp_path), "--text", "title")
    run_json(*learn, "--epochs", 1)
    (made,) = (tmp_path / "shop" / "alignments").iterdir()
    created = run_json("create", "--space", "other", *TOYS, "--alignment", made)
    named_vectors = created["named_vectors"]
    assert list(named_vectors) == ["text", "image", "aligned"]
    left = run_json("reembed", "-s", "other", "--text-encoder", "toy/words", "--alignment", "none")
    assert left["alignment"] == "lost"
    assert list(run_json("status", "-s", "other")["named_vectors"]) == ["text", "image"]
    refused = run("create", "--space", "third", *TOYS, "--alignment", "nowhere")
    assert (refused.returncode, "no alignment can be read from nowhere" in refused.stderr) == (
        1,
        True,
    )
