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


def test_prices_are_updated_and_unknown_ids_listed(shop, run_json, tmp_path):
    (tmp_path / "prices.csv").write_text("item_id,price\nf1,100\nf2,2\nnobody,7\n")
    result = shop("update", "prices.csv", "--space", "shop")
    assert "3 rows read: 0 added, 1 changed, 1 unchanged" in result.stdout
    assert "1 ids are of no item, and were passed over: nobody" in result.stdout
    assert run_json("get", "f1", "--space", "shop")["attributes"]["price"] == 100
    assert run_json("count", "--space", "shop") == {"count": 20}


def test_a_synchronisation_is_shown_before_it_is_done(shop, run_json, tmp_path):
    rows = json.loads((tmp_path / "films.json").read_text())
    (tmp_path / "films.json").write_text(json.dumps(rows[:19]))
    command = ("upsert", "films.json", "--space", "shop", "--domain", "films", "--sync")
    refused = shop(*command)
    assert refused.returncode == 1
    assert "dry run, nothing is written" in refused.stderr
    assert "1 items deleted that the input does not have" in refused.stderr
    assert "give --yes" in refused.stderr
    assert run_json("count", "--space", "shop") == {"count": 20}
    assert run_json(*command, "--yes")["deleted"] == 1
    assert run_json("count", "--space", "shop") == {"count": 19}
    (tmp_path / "films.json").write_text(json.dumps(rows[:10]))
    beyond = shop(*command, "--yes")
    assert "lacks 9 of the 19 items of films (47.4%), and at most 5% may be" in beyond.stderr
    assert run_json("count", "--space", "shop") == {"count": 19}


def test_the_mapping_is_printed_and_a_remap_has_to_be_confirmed(shop, run_json, tmp_path):
    rows = [{"item_id": f"b{n}", "domain": "books", "title": f"b {n}", "n": n} for n in range(20)]
    (tmp_path / "books.json").write_text(json.dumps(rows))
    command = ("upsert", "books.json", "--space", "shop", "--domain", "books")
    assert "books: id of item_id, text of {title}" in shop(*command).stdout
    refused = shop(*command, "--text", "{title} {n}")
    assert "the text of books is made of '{title}', and not of '{title} {n}'" in refused.stderr
    unconfirmed = shop(*command, "--text", "{title} {n}", "--remap")
    assert "encode 20 items anew? Nobody can answer here" in unconfirmed.stderr
    done = run_json(*command, "--text", "{title} {n}", "--remap", "--yes")
    assert (done["reencoded"], done["encoded"]["text"]) == (20, 20)


def test_what_a_replacement_removes_is_said(shop, tmp_path):
    (tmp_path / "bare.json").write_text(
        json.dumps([{"item_id": "f1", "domain": "films", "text": "x"}])
    )
    result = shop("upsert", "bare.json", "--space", "shop", "--replace")
    assert "price: 1 items lose their value, since the input has no such column" in result.stdout
