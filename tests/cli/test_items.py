"""Items by id and by filter on the command line."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def shop(run, tmp_path):
    rows = [
        {"item_id": f"f{n}", "domain": "films", "text": f"film {n}", "price": n} for n in range(20)
    ]
    (tmp_path / "films.json").write_text(json.dumps(rows))
    run("create", "--space", "shop", "--encoder", "toy/words")
    result = run("upsert", "films.json", "--space", "shop")
    assert result.returncode == 0, result.stderr
    return run


def test_ids_are_printed_one_a_line(shop, run_json):
    listed = shop("ids", "--space", "shop", "--where", "price >= 18").stdout
    assert sorted(listed.splitlines()) == ["f18", "f19"]
    assert run_json("ids", "--space", "shop", "--where", "price = 3") == ["f3"]


def test_several_items_are_one_json_document(shop, run_json):
    items = run_json("get", "f2", "f1", "--space", "shop")
    assert [one["attributes"]["price"] for one in items] == [2, 1]
    assert run_json("get", "f2", "--space", "shop")["text"] == "film 2"
    assert "film 1" in shop("get", "f2", "f1", "--space", "shop").stdout


def test_what_a_filter_selects_is_deleted_only_after_a_yes(shop, run_json):
    refused = shop("delete", "--where", "price < 5", "--space", "shop")
    assert refused.returncode == 1
    assert "delete 5 items? Nobody can answer here; give --yes" in refused.stderr
    assert run_json("count", "--space", "shop") == {"count": 20}
    deleted = run_json("delete", "--where", "price < 5", "--space", "shop", "--yes")
    assert deleted == {"deleted": 5}
    assert run_json("count", "--space", "shop", "--where", "price < 7") == {"count": 2}
