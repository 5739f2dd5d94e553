"""Fusion weights from the command line."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tests.toy import COLOURS, picture


def make_shop(run_json, folder, *encoders) -> None:
    """Two kinds of thing, distinguished by their first word, with pictures of any colour."""
    colours, rows = list(COLOURS), []
    for n in range(80):
        colour = colours[n // 8 % len(colours)]
        (folder / f"{n}.png").write_bytes(picture(colour, 4 + n))
        rows.append(
            {
                "item_id": f"i{n}",
                "text": f"kind{n % 8} thing{n}",
                "image": f"{n}.png",
                "kind": f"kind{n % 8}",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    run_json("create", "--space", "shop", *encoders)
    run_json("upsert", "items.parquet", "--space", "shop", "--domain", "things")


def test_weights_are_shown_and_changed(run, run_json, tmp_path):
    make_shop(run_json, tmp_path, "--encoder", "toy/both")
    assert run_json("weights", "-s", "shop") == {"weights": {"text": 1.0, "image": 1.0}}
    run_json("publish", "-s", "shop")
    shown = run("set-weights", "image=3", "-s", "shop")
    assert shown.returncode == 0, shown.stderr
    assert "image 3 (was 1)" in shown.stdout
    assert "named vector joint" in shown.stdout
    assert "release 2 is current" in shown.stdout
    assert run_json("weights", "-s", "shop")["weights"] == {"text": 1.0, "image": 3.0}
    refused = run("set-weights", "smell=3", "-s", "shop")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "a weight for 'smell'" in refused.stderr
    assert "write MODALITY=2" in run("set-weights", "image", "-s", "shop").stderr
    assert "'image' is given twice" in run("set-weights", *["image=1"] * 2, "-s", "shop").stderr


def test_fusion_is_learned_from_a_label_and_from_pairs(run, run_json, tmp_path):
    encoders = ("--text-encoder", "toy/words", "--image-encoder", "toy/colours")
    make_shop(run_json, tmp_path, *encoders)
    report = run_json("learn-fusion", "--label", "kind", "-s", "shop")
    assert report["chosen"]["item to item"] == "learned"
    ndcg = report["ndcg"]["item to item"]
    assert ndcg["learned"] > ndcg["fixed"]
    similar = ("similar", "i0", "-s", "shop", "-k", 5)
    assert run_json(*similar)["hits"] != run_json(*similar, "--weights", "image=1")["hits"]
    pairs = [{"like": f"i{n}", "item_id": f"i{(n + 8) % 80}"} for n in range(80)]
    pairs.append({"like": "gone", "item_id": "i1"})
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    shown = run("learn-fusion", "--pairs", "pairs.parquet", "-s", "shop")
    assert shown.returncode == 0, shown.stderr
    for words in ("item to item", "fixed", "learned", "held out; from now on:"):
        assert words in shown.stdout
    assert "left out: like 'gone': there is no such item" in shown.stderr
