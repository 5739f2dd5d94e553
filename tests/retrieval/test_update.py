"""Updates, synchronisation and the remembered mapping of a domain."""

from __future__ import annotations

import pyarrow as pa
import pytest

from isthmus import Space
from isthmus.encoders.backends.towers import TextTower
from isthmus.errors import InvalidInput, InvalidItems, InvalidMapping
from isthmus.index.catalog.item_changes import KEYS
from tests.toy import ToyEncoder, item, picture, text_encoder, two_encoders

FILMS = [
    {"movie_id": n, "title": f"word{n}", "genres": "drama", "price": float(n)} for n in range(20)
]
MADE = {"id": "film-{movie_id}", "text": "{title}. {genres}"}


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "shop", text_encoder())
    space.upsert(FILMS, domain="films", **MADE)
    return space


def test_an_update_changes_only_the_columns_that_it_has(shop):
    before = shop.get("film-3")
    report = shop.update([{"item_id": "film-3", "price": 99.5}, {"item_id": "film-4", "price": 4}])
    assert (report.rows_read, report.changed, report.unchanged, report.added) == (2, 1, 1, 0)
    assert report.encoded == {"text": 0}
    assert shop.get("film-3") == {**before, "attributes": {**before["attributes"], "price": 99.5}}


def test_unknown_ids_are_listed_and_make_no_item(shop):
    report = shop.update([{"item_id": "film-3", "price": 1.5}, {"item_id": "none", "price": 2.0}])
    assert (report.rows_read, report.changed, report.unknown) == (2, 1, ["none"])
    assert shop.count() == 20


def test_an_update_is_seen_by_filters_and_hits_of_every_process(shop):
    shop.publish()
    reader = Space.open(shop.path, encoder=text_encoder())
    assert reader.count(where="price > 50") == 0
    release_vectors = reader.opened.view().segments[0]
    shop.update([{"item_id": f"film-{n}", "price": 60.0 + n} for n in range(5)])
    assert reader.count(where="price > 50") == 5
    hit = reader.search("word2", k=1, where="price > 50", attributes=True)[0]
    assert (hit.item_id, hit.attributes["price"]) == ("film-2", 62.0)
    assert reader.opened.view().segments == (release_vectors,)  # nothing was indexed anew


def test_a_column_of_the_text_renders_it_anew_out_of_the_stored_ones(shop):
    report = shop.update([{"item_id": "film-1", "title": "ocean"}])
    assert (report.changed, report.reencoded, report.encoded) == (1, 1, {"text": 1})
    assert shop.get("film-1")["text"] == "ocean. drama"
    assert shop.search("ocean. drama", k=1)[0].item_id == "film-1"
    assert shop.update([{"item_id": "film-1", "title": "ocean"}]).unchanged == 1


def test_an_update_by_the_columns_that_made_the_id(shop):
    assert shop.update(pa.table({"movie_id": [7], "price": [0.5]})).changed == 1
    assert shop.get("film-7")["attributes"]["price"] == 0.5


def test_an_update_with_bad_rows_stores_nothing(shop):
    rows = [{"item_id": "film-1", "price": 7.0}, {"item_id": "film-2", "price": "dear"}]
    with pytest.raises(InvalidItems, match="row 1: column 'price' holds 'dear'"):
        shop.update(rows)
    assert shop.get("film-1")["attributes"]["price"] == 1.0
    report = shop.update(rows, skip_invalid=True)
    assert (report.changed, report.invalid) == (1, 1)


def test_an_update_may_bring_a_new_attribute_and_a_picture(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item("a", "sea"), item("b", "snow", image=picture("red"))])
    report = space.update([{"item_id": "a", "image": picture("blue"), "stock": 3}])
    assert (report.changed, report.reencoded, report.encoded["image"]) == (1, 1, 1)
    assert space.get("a")["modalities"] == ["text", "image"]
    assert space.get("a")["attributes"] == {"stock": 3}
    assert space.get("b")["modalities"] == ["text", "image"]


def test_a_later_input_uses_the_remembered_mapping_and_says_so(shop):
    report = shop.upsert([{**FILMS[0], "description": "new"}], domain="films")
    assert report.mapping == {"films": MADE}
    assert (report.changed, report.reencoded) == (1, 0)
    assert shop.get("film-0")["text"] == "word0. drama"


@pytest.mark.parametrize(
    ("options", "role"),
    [({"text": "{title}"}, "text"), ({"id": "movie_id"}, "id")],
)
def test_a_contradictory_mapping_is_refused(shop, options, role):
    with pytest.raises(InvalidMapping, match=f"the {role} of films is made of .* --remap"):
        shop.upsert(FILMS, domain="films", **options)
    assert shop.count() == 20
    assert shop.get("film-1")["text"] == "word1. drama"


def test_a_remap_says_what_it_encodes_and_changes_the_mapping(shop):
    options = {"domain": "films", "id": MADE["id"], "text": "{title}", "remap": True}
    planned = shop.upsert(FILMS, dry_run=True, **options)
    assert (planned.dry_run, planned.reencoded, planned.encoded) == (True, 20, {"text": 0})
    assert shop.get("film-1")["text"] == "word1. drama"
    done = shop.upsert(FILMS, **options)
    assert (done.reencoded, done.encoded) == (20, {"text": 20})
    assert shop.upsert(FILMS[:1], domain="films").mapping["films"]["text"] == "{title}"


def test_each_domain_of_an_input_has_its_own_mapping(shop):
    shop.upsert(
        [{"movie_id": 90, "name": "tale", "domain": "books"}], id="book-{movie_id}", text="{name}"
    )
    rows = [
        {"item_id": "film-1", "domain": "films", "title": "x", "genres": "y", "name": None},
        {"item_id": "book-90", "domain": "books", "title": None, "genres": None, "name": "saga"},
    ]
    shop.upsert(rows)
    assert shop.get("film-1")["text"] == "x. y"
    assert shop.get("book-90")["text"] == "saga"


def test_a_domain_without_items_is_bound_by_nothing(shop):
    shop.delete(domain="films")
    shop.upsert(FILMS, domain="films", id="movie_id", text="{title}")
    assert shop.get("3")["text"] == "word3"


def test_a_synchronisation_deletes_what_the_input_lacks(shop):
    shop.upsert([item("b", "other", "books")])
    kept = FILMS[:18]
    planned = shop.upsert(kept, domain="films", sync=True, max_delete="10%", dry_run=True)
    assert (planned.deleted, shop.count("films")) == (2, 20)
    report = shop.upsert(kept, domain="films", sync=True, max_delete="10%")
    assert (report.deleted, report.unchanged) == (2, 18)
    assert set(shop.ids("films")) == {f"film-{n}" for n in range(18)}
    assert shop.count("books") == 1


def test_a_synchronisation_above_its_limit_changes_nothing(shop):
    rows = [{**FILMS[0], "price": 77.0}]
    with pytest.raises(InvalidInput, match=r"lacks 19 of the 20 items of films \(95.0%\).* 5% may"):
        shop.upsert(rows, domain="films", sync=True)
    assert shop.count() == 20
    assert shop.get("film-0")["attributes"]["price"] == 0.0
    assert shop.upsert(rows, domain="films", sync=True, max_delete=19).deleted == 19


def test_a_synchronisation_keeps_the_items_of_rows_that_are_left_out(shop):
    rows = [*FILMS[:19], {**FILMS[19], "price": "dear"}]
    report = shop.upsert(rows, domain="films", sync=True, skip_invalid=True)
    assert (report.invalid, report.deleted, shop.count()) == (1, 0, 20)


def test_a_synchronisation_needs_a_domain_and_an_id_in_every_row(shop):
    with pytest.raises(InvalidInput, match="--domain"):
        shop.upsert(FILMS, sync=True, domain_column="genres")
    rows = [*FILMS, {**FILMS[1], "movie_id": None}]
    with pytest.raises(InvalidInput, match="row 20 has no id"):
        shop.upsert(rows, domain="films", sync=True, skip_invalid=True)


@pytest.mark.parametrize("limit", ["x", "-1%", "200%", -3, "nan"])
def test_a_limit_that_is_none_is_refused(shop, limit):
    with pytest.raises(InvalidInput, match="max_delete is"):
        shop.upsert(FILMS, domain="films", sync=True, max_delete=limit)


def test_a_picture_out_of_reach_leaves_the_item_as_it_was(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    share = tmp_path / "share"
    share.mkdir()
    (share / "a.png").write_bytes(picture("red"))
    rows = [item("a", "sea", image=str(share / "a.png"))]
    space.upsert(rows)
    share.rename(tmp_path / "away")
    report = space.upsert(rows)
    assert (report.unchanged, report.quarantined) == (1, 1)
    assert space.get("a")["modalities"] == ["text", "image"]
    assert "keeps the image that it had" in space.quarantine()[0]["reason"]
    (tmp_path / "away").rename(share)
    assert space.upsert(rows).quarantined == 0
    assert space.quarantine() == []


class ShortEncoder(ToyEncoder):
    """Reads four words."""

    def are_truncated(self, prepared, modality):
        return [len(text.split()) > 4 for text in prepared]


def test_texts_that_the_encoder_cuts_are_counted(tmp_path):
    space = Space.create(tmp_path / "s", ShortEncoder("text"))
    report = space.upsert([item("short", "a ship"), item("long", "a very long text on ships")])
    assert (report.added, report.truncated, report.longest_truncated) == (2, 1, 25)
    assert space.upsert([item("short", "a ship"), item("short2", "a sea")]).truncated == 0


def test_a_text_of_as_many_tokens_as_the_model_takes_counts_as_cut():
    tower = TextTower(tokenize=None, forward=None, components={"max_length": "3"})
    assert tower.are_truncated([[1, 2], [1, 2, 3], [0]]) == [False, True, False]


def test_keys_of_item_ids_differ_as_the_ids_do():
    ids = ["a", "b", "", None, "ab", "ba", "é", "a" * 400, "a" * 399, "film-10", "film-01"]
    whole = KEYS.of(pa.array(ids, pa.string()))
    assert len(set(whole.tolist())) == len(ids) - 1  # null counts as the empty text
    for start in range(len(ids)):
        part = pa.array(ids, pa.string()).slice(start, 3)
        assert KEYS.of(part).tolist() == whole[start : start + 3].tolist()
