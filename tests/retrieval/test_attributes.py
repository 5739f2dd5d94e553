"""Attributes have a type in each domain: stored, filtered by, listed, cast, renamed, dropped."""

from __future__ import annotations

from datetime import UTC, date, datetime

import lance
import pyarrow as pa
import pytest

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput, InvalidItems
from tests.toy import PointEncoder, item, text_encoder

FILMS = [item("f1", "sea", year=1990, price=1), item("f2", "ship", year=2010, price=None)]
WINES = [item("w1", "red", "wine", year="2010 reserve"), item("w2", "white", "wine", year="NV")]
BOOKS = [item("b1", "sea", "books", pages=10)]


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "shop.space", text_encoder())
    space.upsert(FILMS)
    space.upsert(WINES)
    space.upsert(BOOKS)
    return space


def ids(hits):
    return sorted(hit.item_id for hit in hits)


def listed(space):
    return {(row["domain"], row["attribute"]): row for row in space.attributes()}


def kinds(space):
    return {key: row["type"] for key, row in listed(space).items()}


def select(space, where, domain=None):
    found = ids(space.search("sea", where=where, domain=domain, k=100))
    assert space.count(domain=domain, where=where) == len(found)
    assert sorted(space.ids(domain=domain, where=where)) == found
    return found


def test_a_name_has_a_type_in_each_domain(shop):
    assert kinds(shop) == {
        ("films", "year"): "int64",
        ("films", "price"): "int64",
        ("wine", "year"): "string",
        ("books", "pages"): "int64",
    }
    assert shop.get("f1")["attributes"] == {"year": 1990, "price": 1}
    assert shop.get("w1")["attributes"] == {"year": "2010 reserve"}
    assert shop.get("b1")["attributes"] == {"pages": 10}
    hits = {hit.item_id: hit.attributes for hit in shop.search("sea", k=9, attributes=True)}
    assert hits["w2"] == {"year": "NV"}
    assert hits["f2"] == {"year": 2010, "price": None}


@pytest.mark.parametrize("published", [False, True])
def test_a_filter_means_the_attribute_of_the_domains_searched(shop, published):
    if published:
        shop.publish()
    assert select(shop, "year > 2000", "films") == ["f2"]
    assert select(shop, "year > 2000", ["films", "books"]) == ["f2"]
    assert select(shop, "year like '2010%'", "wine") == ["w1"]
    assert select(shop, "year is null") == ["b1"]
    assert select(shop, "year is not null") == ["f1", "f2", "w1", "w2"]
    assert select(shop, "year is null or pages > 5") == ["b1"]
    assert select(shop, "cast(year as int) > 2000", ["films", "books"]) == ["f2"]
    assert select(shop, "YEAR > 2000 and domain = 'films'", "films") == ["f2"]
    with pytest.raises(InvalidFilter, match=r"year is int64 in films and string in wine.*--domain"):
        shop.search("sea", where="year > 2000")


def test_a_domain_without_attributes_has_null_everywhere(shop):
    shop.upsert([item("n1", "sea", "news")])
    assert select(shop, "year is null") == ["b1", "n1"]
    assert select(shop, "year is null", "news") == ["n1"]
    assert select(shop, "pages > 0", "news") == []


def test_the_list_says_type_share_and_examples(shop):
    rows = listed(shop)
    assert rows["films", "price"]["filled"] == 0.5
    assert rows["films", "price"]["examples"] == [1]
    assert rows["wine", "year"]["examples"] == ["2010 reserve", "NV"]
    assert [row["domain"] for row in shop.attributes("wine")] == ["wine"]
    with pytest.raises(InvalidInput, match="no domain 'music' in this space"):
        shop.attributes("music")


def test_whole_numbers_become_fractions_when_they_come_with_a_note(shop):
    report = shop.upsert([item("f3", "sea", price=9.5)])
    assert report.notes == [
        "attribute 'price' of films was int64 and becomes double, which holds both"
    ]
    assert kinds(shop)["films", "price"] == "double"
    assert shop.get("f1")["attributes"]["price"] == 1.0
    assert select(shop, "price > 5") == ["f3"]
    assert shop.upsert(FILMS).unchanged == 2


def test_a_type_that_would_lose_digits_is_refused_before_anything_is_stored(shop):
    shop.upsert([item("big", "sea", n=2**60 + 1)])
    with pytest.raises(
        InvalidInput, match=r"'n' of films cannot become double.*115292150460684697"
    ):
        shop.upsert([item("new", "sea", n=1.5)])
    assert kinds(shop)["films", "n"] == "int64"
    assert shop.get("big")["attributes"]["n"] == 2**60 + 1
    assert shop.count() == 6


def test_a_wider_type_in_one_domain_leaves_the_others(shop):
    shop.upsert([item("b2", "ship", "books", year=7)])
    shop.upsert([item("b3", "ship", "books", year=7.5)])
    assert kinds(shop)["films", "year"] == "int64"
    assert kinds(shop)["books", "year"] == "double"
    assert shop.get("f1")["attributes"]["year"] == 1990
    assert shop.get("b2")["attributes"]["year"] == 7.0
    assert select(shop, "year > 7", ["films", "books"]) == ["b3", "f1", "f2"]


@pytest.mark.parametrize(
    ("stored", "given", "remedy"),
    [
        (1, "soon", "cast films x text"),
        (1, True, "cast films x text"),
        (date(2020, 1, 1), datetime(2020, 1, 1, 5), "cast films x timestamp"),
        (True, 1, "cast films x text"),
        (datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), "cast films x 'timestamp.UTC.'"),
        (datetime(2020, 1, 1), "soon", "cast films x text"),
    ],
)
def test_a_value_that_does_not_fit_names_the_cast_that_works(shop, stored, given, remedy):
    shop.upsert([item("a", "sea", x=stored)])
    with pytest.raises(InvalidItems, match=rf"column 'x' holds .*isthmus attributes {remedy}"):
        shop.upsert([item("b", "ship", x=given)])
    _, domain, name, type_ = remedy.replace("'timestamp.UTC.'", "timestamp[UTC]").split()
    shop.cast_attribute(domain, name, type_)
    kept = given if type_ != "text" or isinstance(given, str) else None
    if kept is not None:
        shop.upsert([item("b", "ship", x=kept)])
        assert shop.get("b")["attributes"]["x"] == kept


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        ([1, 2], "text", ["1", "2"]),
        (["1", "2"], "int64", [1, 2]),
        (["1.5", "2"], "double", [1.5, 2.0]),
        ([1.0, 2.0], "int", [1, 2]),
        (["true", "false"], "bool", [True, False]),
        ([True, False], "text", ["true", "false"]),
        (["2020-01-31", None], "date", [date(2020, 1, 31), None]),
        ([date(2020, 1, 31), None], "timestamp", [datetime(2020, 1, 31), None]),
        ([1.5, None], "text", ["1.5", None]),
    ],
)
def test_a_cast_converts_every_value(shop, values, type_, expected):
    shop.upsert([item(f"a{n}", "sea", x=value) for n, value in enumerate(values)])
    shop.upsert([item("other", "sea", "books", x=values[0])])
    before = kinds(shop)["books", "x"]
    report = shop.cast_attribute("films", "x", type_)
    assert report["values"] == sum(value is not None for value in values)
    assert [shop.get(f"a{n}")["attributes"]["x"] for n in range(len(values))] == expected
    assert shop.get("other")["attributes"]["x"] == values[0]
    assert kinds(shop)["books", "x"] == before
    assert shop.search("sea", k=1)


def test_numbers_become_dates_with_a_unit_only(shop):
    shop.upsert([item("a", "sea", x=20200131)])
    with pytest.raises(InvalidInput, match="item 'a' holds 20200131, which is no date; a number"):
        shop.cast_attribute("films", "x", "date")
    shop.cast_attribute("films", "x", "date", time_unit="yyyymmdd")
    assert shop.get("a")["attributes"]["x"] == date(2020, 1, 31)
    with pytest.raises(InvalidItems, match="a number needs a unit: --time-unit"):
        shop.upsert([item("b", "sea", x=20200201)])
    shop.upsert([item("b", "sea", x=20200201)], time_unit="yyyymmdd")
    assert shop.get("b")["attributes"]["x"] == date(2020, 2, 1)


def test_a_cast_that_does_not_fit_changes_nothing(shop):
    with pytest.raises(InvalidInput, match=r"2 .* 'year' of wine are no int64: item 'w1' holds"):
        shop.cast_attribute("wine", "year", "int64")
    assert kinds(shop)["wine", "year"] == "string"
    with pytest.raises(InvalidInput, match="there is no type 'number'; there are text, int64"):
        shop.cast_attribute("films", "year", "number")
    with pytest.raises(InvalidInput, match="no attribute 'yeer' in the domain 'films'; there are"):
        shop.cast_attribute("films", "yeer", "text")


def test_a_renamed_attribute_has_its_values_and_the_old_name_is_free(shop):
    assert select(shop, "year > 2000", "films") == ["f2"]
    shop.rename_attribute("films", "year", "released")
    assert select(shop, "released > 2000", "films") == ["f2"]
    assert shop.get("f1")["attributes"] == {"released": 1990, "price": 1}
    assert select(shop, "year is not null", "wine") == ["w1", "w2"]
    shop.upsert([item("f1", "sea", year=5)])
    assert shop.get("f1")["attributes"] == {"released": 1990, "price": 1, "year": 5}
    for name, why in {"item_id": "Isthmus uses itself", "a.b": "a dot", "price": "already"}.items():
        with pytest.raises(InvalidInput, match=why):
            shop.rename_attribute("films", "year", name)


def test_a_dropped_attribute_is_gone_in_its_domain_alone(shop):
    shop.upsert([item("b2", "ship", "books", price=3)])
    assert select(shop, "price > 0") == ["b2", "f1"]
    assert shop.drop_attribute("films", "price")["dropped"] == 1
    assert shop.get("f1")["attributes"] == {"year": 1990}
    assert shop.get("b2")["attributes"] == {"pages": None, "price": 3}
    assert select(shop, "price > 0") == ["b2"]
    shop.drop_attribute("books", "price")
    with pytest.raises(InvalidFilter, match="No field named price"):
        shop.count(where="price > 0")
    shop.upsert([item("f1", "sea", price="cheap")])
    assert shop.get("f1")["attributes"]["price"] == "cheap"


def test_an_attribute_without_values_has_no_type_yet(shop):
    shop.upsert([item("f1", "sea", later=None, tags=[])])
    assert ("films", "later") not in kinds(shop)
    shop.upsert([item("f1", "sea", later="x", tags=["a"])])
    assert kinds(shop)["films", "later"] == "string"
    shop.upsert([item("f1", "sea", later=None)])
    assert shop.get("f1")["attributes"]["later"] is None


def test_a_killed_change_leaves_columns_that_the_next_one_drops(shop):
    table = lance.dataset(str(shop.path / "catalog.lance"))
    table.add_columns(pa.schema([("_attribute_stray_2", pa.int64()), ("stray", pa.string())]))
    assert ("films", "stray") not in kinds(shop)
    assert "stray" not in shop.get("f1")["attributes"]
    shop.upsert([item("f1", "sea", stray=5)])
    assert shop.get("f1")["attributes"]["stray"] == 5
    assert "stray" not in lance.dataset(str(shop.path / "catalog.lance")).schema.names


@pytest.mark.parametrize("name", ["score", "rank", "id", "Year", "a b", "größe", "it's", "select"])
def test_an_attribute_may_have_any_name(shop, name):
    shop.upsert([item("f1", "sea", **{name: 5})])
    assert shop.get("f1")["attributes"][name] == 5
    assert select(shop, f"`{name}` = 5", "films") == ["f1"]
    assert shop.search("sea", k=1, domain="films", attributes=True)[0].attributes[name] == 5


def test_a_cast_loses_something_only_with_allow_lossy(tmp_path):
    space = Space.create(tmp_path / "my space", PointEncoder(2))
    space.upsert(
        [
            item("a", "1 0", price=9.99, at=datetime(2026, 1, 31, 23, 59), code="2.5"),
            item("b", "1 1", price=7.0, at=datetime(2026, 2, 1), code="x"),
        ]
    )
    refused = r"1 of 2 value.* are no int64 and would lose something: item 'a': 9\.99 becomes 10\."
    with pytest.raises(InvalidInput, match=refused) as error:
        space.cast_attribute("films", "price", "int64")
    command = str(error.value).rpartition(": isthmus ")[2]
    assert command.startswith("attributes cast --allow-lossy films price int64 --space ")
    report = space.cast_attribute("films", "price", "int64", allow_lossy=True)
    assert (report["values"], report["lossy"]) == (2, 1)
    assert report["examples"] == ["item 'a': 9.99 becomes 10"]
    space.cast_attribute("films", "at", "date", allow_lossy=True)
    with pytest.raises(InvalidInput, match="item 'b' holds 'x', which is no int64"):
        space.cast_attribute("films", "code", "int64", allow_lossy=True)
    found = space.get(["a", "b"])
    assert [one["attributes"]["price"] for one in found] == [10, 7]
    assert [one["attributes"]["at"] for one in found] == [date(2026, 1, 31), date(2026, 2, 1)]
    assert space.cast_attribute("films", "price", "double")["lossy"] == 0
