"""Searching on the page: words, pictures, filters and facets, an item and its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isthmus import Space
from tests.service.page.html import Element, read
from tests.service.page.visiting import OWN, seen, titles, visit
from tests.service.serving import app_of, send, toy_space
from tests.toy import item, joint_encoder, picture, text_encoder


@pytest.fixture(scope="module")
def app(shop: Path) -> Any:
    return app_of(spaces={"shop": shop})


def counts(document: Element, legend: str) -> dict[str, int]:
    """The values of a facet, with their counts."""
    facet = next(f for f in document.all("fieldset") if f.all("legend")[0].text == legend)
    values = [label for label in facet.all("label") if label.all("span", class_="count")]
    return {
        label.one("span", class_="label").text: int(label.one("span", class_="count").text)
        for label in values
    }


def test_the_beginning_leads_to_the_catalogue(app):
    assert send(app, "GET", "/").headers["location"] == "/page/"
    assert send(app, "GET", "/page/").headers["location"] == "/page/spaces/shop/search"
    document = seen(app, "search")
    assert document.one("p", id="announcement").text == "96 items"
    assert counts(document, "domain") == {"books": 48, "films": 48}
    assert len(titles(document)) == 24


def test_words_find_what_the_operation_finds(app, shop):
    hits = toy_space(shop).search("filmsword3 films3x2", k=24, attributes=True)
    assert titles(seen(app, "search", q="filmsword3 films3x2")) == [hit.title for hit in hits]


def test_facets_narrow_a_search_and_count_what_choosing_adds(app):
    document = seen(app, "search", q="filmsword3", **{"is.brand": "brand3", "domain": "films"})
    assert {title[:11] for title in titles(document)} <= {"filmsword3 ", "filmsword7 "}
    # Of the other brands as if this one were not chosen; of tags beside it.
    assert counts(document, "brand") == {f"brand{n}": 12 for n in range(4)}
    assert counts(document, "tags") == {"any": 12, "tag0": 6, "tag1": 6}
    assert counts(document, "domain") == {"books": 12, "films": 12}
    assert (
        document.one("p", id="announcement").text == "12 items shown of 12 that the filters select"
    )


def test_values_of_lists_ranges_and_dates(app):
    given = {"is.tags": "tag1", "from.price": "10", "to.price": "15", "domain": "films"}
    assert len(titles(seen(app, "search", **given))) == 3
    document = seen(app, "search", **{"from.released": "2006-01-03", "domain": "books"})
    assert len(titles(document)) == 10
    both = seen(app, "search", where="price < 3", **{"from.price": "2"})
    assert len(titles(both)) == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("where", "price <", "Expected"),
        ("where", "colour = 'x'", "colour"),
        ("from.price", "ten", "price: 'ten' is not a number"),
        ("from.released", "soon", "released: 'soon' is not a date such as 2026-01-31"),
        ("where", "price > 0) OR (1 = 1", "a filter is one predicate"),
    ],
)
def test_what_is_no_filter_is_said_where_it_stands(app, field, value, said):
    document = seen(app, "search", q="filmsword1", **{field: value})
    assert said in document.one("div", role="alert").text
    assert titles(document) == []
    assert document.one("input", id="q").attributes["value"] == "filmsword1"
    (kept,) = [e for e in document.all("input", name=field) if e.attributes["value"] == value]
    assert kept


def test_every_page_of_a_search_and_of_the_catalogue_can_be_reached(app):
    for fields in ({}, {"q": "filmsword2", "is.tags": "any"}):
        found: list[str] = []
        address = None
        while True:
            answer = visit(app, address or "search", **({} if address else fields))
            document = read(answer.text)
            found += titles(document)
            links = [a for a in document.all("a", class_="button") if "Next" in a.text]
            if not links:
                break
            address = links[0].attributes["href"]
        assert len(found) == len(set(found)) == 96


def test_an_item_has_its_neighbours_in_every_domain(app, shop):
    document = seen(app, "item", id="books-2-2")
    assert document.one("h1").text == "booksword2 books2x2"
    assert [e.text for e in document.all("h2")] == ["Nearest in books", "Nearest in films"]
    space = toy_space(shop)
    for section, domain in zip(document.all("section"), ("books", "films"), strict=True):
        hits = space.similar("books-2-2", domain=domain, k=6, attributes=True)
        assert titles(section) == [hit.title for hit in hits]
    facts = dict(
        zip(
            [e.text for e in document.all("dt")],
            [e.text for e in document.all("dd")],
            strict=True,
        )
    )
    assert (facts["brand"], facts["released"], facts["tags"]) == (
        "brand2",
        "2002-01-03",
        "tag0, any",
    )


def test_an_item_that_is_not_there(app):
    answer = visit(app, "item", id="none<b>")
    assert answer.status_code == 404
    assert read(answer.text).one("div", role="alert").text == "no item 'none<b>' in this space"
    assert visit(app, "item").status_code == 422


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A space in which red pictures are what the word red is."""
    folder = tmp_path_factory.mktemp("pictured") / "shop.space"
    space = Space.create(folder, joint_encoder())
    rows = [item(name, name, image=picture(name)) for name in ("red", "green", "blue")]
    space.upsert([*rows, item("plain", "yellow"), item("broken", "black", image=b"no picture")])

    def opened(path: Path) -> Space:
        return Space.open(path, encoder=joint_encoder())

    from isthmus.service.app import make_app
    from isthmus.service.settings import ServeSettings

    return make_app(ServeSettings(spaces={"shop": folder}), opened)


def test_a_picture_finds_what_is_like_it(pictured):
    assert "image" in {e.attributes.get("id") for e in seen(pictured, "search").all("input")}
    edge = "edge"
    parts = (
        f'--{edge}\r\ncontent-disposition: form-data; name="domain"\r\n\r\nfilms\r\n'
        f'--{edge}\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n'
        "content-type: image/png\r\n\r\n"
    )
    content = parts.encode() + picture("blue", 20) + f"\r\n--{edge}--\r\n".encode()
    headers = {**OWN, "content-type": f"multipart/form-data; boundary={edge}"}
    answer = send(pictured, "POST", "/page/spaces/shop/search", content=content, headers=headers)
    assert answer.status_code == 200
    assert titles(read(answer.text))[0] == "blue"
    content = content.replace(picture("blue", 20), b"no picture")
    answer = send(pictured, "POST", "/page/spaces/shop/search", content=content, headers=headers)
    assert "not an image" in read(answer.text).one("div", role="alert").text


def test_pictures_of_items_come_small_and_safe(pictured):
    for size, side in (("small", 8), ("large", 8)):
        answer = visit(pictured, "thumbnail", id="red", size=size)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.content[:4] + answer.content[8:12] == b"RIFFWEBP"
        assert side
    for item_id in ("plain", "broken"):  # one has none, that of the other cannot be decoded
        answer = visit(pictured, "thumbnail", id=item_id)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert visit(pictured, "thumbnail", id="red", size="huge").status_code == 422
    assert visit(pictured, "thumbnail", id="none").status_code == 404
    cards = seen(pictured, "search", q="red").all("img", class_="picture")
    assert cards[0].attributes["src"] == "/page/spaces/shop/thumbnail?id=red&size=small"


def test_only_attributes_that_group_items_are_facets(tmp_path):
    space = Space.create(tmp_path / "shop.space", {"text": text_encoder()})
    rows = [
        item(f"i{n}", "x", sku=f"s{n}", brand=f"b{n % 2}", new=n < 3, blurb="very long " * 9)
        for n in range(12)
    ]
    space.upsert(rows)
    app = app_of(spaces={"shop": space.path})
    document = seen(app, "search")
    filters = document.one("details", class_="filters").all("fieldset")
    legends = [one.all("legend")[0].text for one in filters]
    assert legends == ["domain", "brand", "new", "Filter in words of SQL"]
    assert counts(document, "new") == {"no": 9, "yes": 3}
    assert len(titles(seen(app, "search", **{"is.new": "true"}))) == 3
    assert len(titles(seen(app, "search", **{"is.new": ["true", "false"]}))) == 12
    assert len(titles(seen(app, "search", **{"is.sku": "s7"}))) == 1


def test_a_space_without_items_says_what_to_do(tmp_path):
    toy = Space.create(tmp_path / "shop.space", joint_encoder())
    app = app_of(spaces={"shop": toy.path})
    document = seen(app, "search")
    assert document.one("h2").text == "This space has no items yet"
    assert "isthmus upsert" in document.one("code").text
