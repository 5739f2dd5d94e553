"""Operating a space on the page: lists and why, releases, monitoring, quarantine, evaluation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from isthmus import Space, User
from isthmus.service.jobs import FOLDER, run
from isthmus.service.keys import KeyFile, KeyRequest
from tests.service.page.html import Element, read
from tests.service.page.visiting import post, seen, titles, visit
from tests.service.serving import app_of, toy_space
from tests.toy import item, joint_encoder, picture


@pytest.fixture(scope="module")
def app(shop: Path) -> Any:
    return app_of(spaces={"shop": shop})


def listed(document: Element) -> list[str]:
    """The titles of a list for somebody, the best first."""
    rows = document.all("li", class_="row")
    return [row.all("h3")[0].all("a")[0].text for row in rows]


def done(space: Path, operation: str, **arguments: Any) -> None:
    """Carry a job out here that a process was started for."""
    folder = space / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    job_id = f"job{len(list(folder.iterdir()))}"
    job = {"job_id": job_id, "operation": operation, "state": "running", "finished": None}
    job |= {"created": "2026-01-01T00:00:00", "arguments": arguments, "process": None}
    job |= {"result": None, "problem": None, "space": "shop", "hidden": {}, "queued": False}
    (folder / f"{job_id}.json").write_text(json.dumps(job))
    run(folder, job_id)


def test_the_list_of_a_user_is_that_of_the_operation_and_says_why(app, shop):
    user = User(["films-1-1"], clicks=["books-2-2"])
    fields = {"history": "films-1-1", "clicks": "books-2-2", "domain": "films"}
    plain = seen(app, "recommend", **fields)
    assert not plain.all("table", class_="bars")
    document = seen(app, plain.one("section", id="list").attributes["hx-get"])
    assert listed(plain) == listed(document)
    hits = toy_space(shop).recommend(user, domain="films", k=12, attributes=True, explain=True)
    assert listed(document) == [hit.title for hit in hits]
    chosen = {
        e.attributes["name"]: e.attributes["value"] for e in document.all("input", type="hidden")
    }
    assert (chosen["history"], chosen["clicks"]) == ("films-1-1", "books-2-2")
    for row, hit in zip(document.all("li", class_="row"), hits, strict=True):
        assert hit.explanation is not None
        tables = {table.one("caption").text: table for table in row.all("table", class_="bars")}
        reasons = [cell.text for cell in tables["Because of"].all("th", scope="row")]
        assert [text.split(" text ")[0] for text in reasons] == [
            one.describe() for one in hit.explanation.history[:5]
        ]
        values = [float(cell.text) for cell in tables["Because of"].all("td", class_="value")]
        gains = [one.gain for one in hit.explanation.history[:5]]
        assert values == pytest.approx(gains, abs=6e-4)
        sources = [
            cell.text.split(" place ")[0] for cell in tables["Source"].all("th", scope="row")
        ]
        assert set(sources) <= {one.name for one in hit.explanation.generators}


def test_a_page_of_rows_is_that_of_the_operation(app, shop):
    document = seen(app, "recommend", user="u3", **{"as": "rows"})
    rows = toy_space(shop).recommend_rows(User(id="u3"), k=6, attributes=True)
    section = document.one("section", id="list")
    assert [heading.text for heading in section.all("h2")] == [row.title for row in rows]
    for part, row in zip(section.all("section")[1:], rows, strict=True):
        titles = [title.text for title in part.all("span", class_="card-title")]
        assert titles == [hit.title for hit in row.hits]
    assert section.all("li", class_="row") == []


def test_the_users_to_tell_about_an_item(app, shop):
    link = "/page/spaces/shop/item/users?id=films-1-1"
    assert link in [e.attributes["href"] for e in seen(app, "item", id="films-1-1").all("a")]
    document = seen(app, "item/users", id="films-1-1")
    users = toy_space(shop).recommend_users("films-1-1", k=50)
    assert users
    assert [cell.text for cell in document.all("th", scope="row")] == [u["user_id"] for u in users]
    first = document.all("th", scope="row")[0].one("a").attributes["href"]
    assert first == f"/page/spaces/shop/recommend?user={users[0]['user_id']}&domain=films"


def test_a_list_says_how_it_moved_since_the_one_before(app):
    first = seen(app, "recommend", history="films-1-1", domain="films")
    before = [e.attributes["value"] for e in first.all("input", name="was")]
    again = seen(app, "recommend", history="films-1-1", domain="films", was=before[::-1])
    moved = [row.all("span", class_="rank")[0].text for row in again.all("li", class_="row")]
    assert moved == [str(n) for n in range(1, len(before) + 1)]
    badges = [badge.text for badge in again.all("span", class_="badge good")]
    assert badges[0] == f"up ↑{len(before) - 1}".replace("↑", "↑ ") or badges[0].startswith("up")
    new = seen(app, "recommend", history="films-1-1", domain="films", was=["books-1-1"])
    assert len([b for b in new.all("span", class_="badge good") if b.text == "new"]) == len(before)


def test_items_for_a_history_are_found_added_and_removed(app):
    found = seen(app, "recommend", find="filmsword4 films4x0")
    add = found.all("button", name="history")
    assert add[0].attributes["value"] == "films-4-0"
    with_it = seen(app, "recommend", find="filmsword4 films4x0", history="films-4-0")
    assert "films-4-0" not in [e.attributes["value"] for e in with_it.all("button", name="history")]
    without = seen(app, "recommend", history="films-4-0", remove="films-4-0")
    assert not without.all("button", name="remove")
    unknown = seen(app, "recommend", history="none")
    assert "not in this space" in unknown.one("ul", class_="chosen").text


def test_a_click_is_stored_and_counts(own_shop):
    app = app_of(spaces={"shop": own_shop})
    answer = post(app, "recommend/click", user="new", item="films-1-1", domain="films")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/page/spaces/shop/recommend?user=new&")
    stored = toy_space(own_shop).interactions("new").to_pylist()
    assert [(row["item_id"], row["event"]) for row in stored] == [("films-1-1", "click")]
    assert post(app, "recommend/click", user="new").status_code == 422


def test_releases_show_what_was_promised_and_measured(app, shop):
    document = seen(app, "releases")
    releases = toy_space(shop).releases()
    headings = [e.text for e in document.all("h2") if "Release" in e.text]
    assert headings == ["Release 2 current", "Release 1"]
    latest = max(releases, key=lambda one: one.number)
    tables = [t for t in document.all("table") if "Recall@10" in t.all("caption")[0].text]
    rows = [[c.text for c in row.all("td")] for row in tables[0].all("tr")][1:]
    assert [(r[0], r[1], r[2], r[4]) for r in rows] == [
        (one.kind, one.domain, f"{one.queries:,}", f"{one.recall:.3f}") for one in latest.recall
    ]


def test_a_release_is_rolled_back_by_those_who_may(own_shop, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    keys = {
        scope: file.create(KeyRequest(scopes=(scope,)))
        for scope in ("read", "write", "events", "admin")
    }
    keys["bound"] = file.create(KeyRequest(scopes=("read", "admin"), domains="films"))
    app = app_of(spaces={"shop": own_shop}, keys=file.path)
    space = toy_space(own_shop)
    for name in ("read", "write", "events", "bound"):
        assert post(app, "releases/roll-back", keys[name], number="1").status_code == 403
        for page in ("releases/start", "monitoring", "evaluation"):
            assert post(app, page, keys[name], operation="publish").status_code == 403
        for page in ("releases", "monitoring", "evaluation"):
            assert visit(app, page, keys[name]).status_code == 403
        assert space.current_release == 2
    assert post(app, "quarantine", keys["read"]).status_code == 403
    assert post(app, "quarantine", keys["bound"]).status_code == 403
    assert post(app, "recommend/click", keys["read"], user="a", item="films-1-1").status_code == 403
    answer = post(app, "releases/roll-back", keys["admin"], number="1")
    assert (answer.status_code, space.current_release) == (303, 1)
    for number in ("9", "x", ""):
        assert post(app, "releases/roll-back", keys["admin"], number=number).status_code >= 404
    assert space.current_release == 1


def test_monitoring_shows_measurements_and_requests(own_shop):
    app = app_of(spaces={"shop": own_shop})
    assert seen(app, "monitoring").one("div", class_="empty")
    done(own_shop, "monitor", on_alarm="report", seed=1)
    done(own_shop, "monitor", on_alarm="report", seed=2)
    report = toy_space(own_shop).monitor(seed=2)
    document = seen(app, "monitoring")
    table = next(
        t
        for t in document.all("table")
        if t.all("caption", class_="hidden") and "Recall by named" in t.all("caption")[0].text
    )
    rows = [[c.text for c in row.all("td")] for row in table.all("tr")][1:]
    assert [(r[1], r[4]) for r in rows] == [(r.domain, f"{r.recall:.3f}") for r in report.recall]
    chart = next(c for c in document.all("figure") if "recall@10" in c.text)
    assert len(chart.all("circle", class_="mark f0")) == 3  # whoever measured
    names = {
        row.all("th")[0].text
        for row in document.one("section", **{"aria-labelledby": "requests"}).all("tr")[1:]
    }
    assert {"jobs", "status"} <= names


def test_evaluations_are_shown_as_they_were_measured(own_shop):
    app = app_of(spaces={"shop": own_shop})
    assert seen(app, "evaluation").one("div", class_="empty")
    arguments = {"protocols": ["cold_item"], "targets": ["films"], "baselines": ["popularity"]}
    done(own_shop, "evaluate", **arguments, systems=["interests"], quick=True)
    (file,) = (own_shop / FOLDER).glob("*.json")
    job = json.loads(file.read_text())
    assert job["problem"] is None
    (task,) = [task for task in job["result"]["tasks"] if task["split"] == "test"]
    systems = {one["name"]: one["metrics"]["ndcg@10"] for one in task["systems"]}
    document = seen(app, "evaluation")
    assert [e.text for e in document.all("h2")] == [
        "cold items of films test",
        "cold items of films validation: settings were chosen by it",
    ]
    tables = [t for t in document.all("table") if "ndcg@10 with" in t.all("caption")[0].text]
    table = tables[0]
    shown = {row.all("th")[0].text: row.all("td")[1].text for row in table.all("tr")[1:]}
    assert shown == {name: f"{value['value']:.4f}" for name, value in systems.items()}
    assert list(shown) == sorted(shown, key=lambda name: -float(shown[name]))
    other = seen(app, "evaluation", metric="recall@10")
    assert any("recall@10 with" in t.all("caption")[0].text for t in other.all("table"))
    assert visit(app, "evaluation", job="none").status_code == 404


def test_the_quarantine_is_shown_and_tried_again(tmp_path):
    space = Space.create(tmp_path / "shop.space", joint_encoder())
    whole = picture("red", 64)
    space.upsert([item("torn", "red", image=whole[:60]), item("ok", "red", image=whole)])
    from isthmus.service.app import make_app
    from isthmus.service.settings import ServeSettings

    def opened(path: Path) -> Space:
        return Space.open(path, encoder=joint_encoder())

    app = make_app(ServeSettings(spaces={"shop": space.path}), opened)
    (row,) = seen(app, "quarantine").one("tbody").all("tr")
    assert row.all("th")[0].text == "torn films"
    assert space.quarantine()[0]["reason"] in row.text
    assert visit(app, "quarantine/thumbnail", id="torn").headers["content-type"] == "image/svg+xml"
    assert visit(app, "quarantine/thumbnail", id="ok").status_code == 404
    answer = post(app, "quarantine")
    assert answer.headers["location"] == "/page/spaces/shop/quarantine?tried=0&failed=1"
    said = read(visit(app, answer.headers["location"]).text).one("p", class_="notice").text
    assert said == "0 contents were encoded, 1 failed again."


def test_the_map_has_every_point_in_the_drawing_and_in_the_table(app, shop):
    document = seen(app, "map", domain="films")
    drawn = json.loads(document.one("canvas").attributes["data-map"])
    found = toy_space(shop).map(domain="films", layout="components")
    assert drawn["ids"] == list(found.item_ids)
    assert drawn["domains"] == ["films"]
    points = [point[:2] for point in drawn["points"]]
    assert points == [pytest.approx(point, abs=1e-3) for point in found.points.tolist()]
    assert len(document.one("tbody").all("tr")) == 48
    card = read(visit(app, "map/card", id="films-1-1").text)
    assert card.one("h2").text == "filmsword1 films1x1"
    assert visit(app, "map", layout="none").status_code == 422


@pytest.mark.parametrize("page", ["search", "recommend", "map", "quarantine"])
def test_a_key_of_a_domain_reads_of_no_other(shop, tmp_path, page):
    file = KeyFile(tmp_path / "keys.json")
    scopes = ("read", "write", "events", "admin")
    films = file.create(KeyRequest(scopes=scopes, domains="films"))
    cheap = file.create(KeyRequest(scopes=scopes, domains="films", where="price < 20"))
    app = app_of(spaces={"shop": shop}, keys=file.path)
    fields: dict[str, Any] = {"history": ["films-1-1", "books-1-1"], "user": "u3"}
    answer = visit(app, page, films, **(fields if page == "recommend" else {}))
    assert answer.status_code == 200
    assert "books" not in answer.text.replace("books-1-1", "")
    answer = visit(app, page, cheap, **(fields if page == "recommend" else {}))
    assert not re.search("films-[2-7]-", answer.text)
    assert titles(read(answer.text)) == [] or page == "search"
    assert visit(app, page, films, domain="books").status_code == (
        200 if page == "quarantine" else 403
    )
