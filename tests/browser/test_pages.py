"""The pages in a browser: their main tasks by mouse and by keyboard, and what axe-core says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from isthmus import Space
from isthmus.service.keys import KeyFile, KeyRequest
from tests.browser.browsing import NARROW, WIDE, Visitor, picture_file, violations
from tests.browser.conftest import Visit, opened
from tests.service.serving import app_of, running
from tests.toy import picture

pytestmark = pytest.mark.heavy

HANDS = ("mouse", "keyboard")
PAGES = {
    "catalogue": "shop/search",
    "search": "shop/search?q=filmsword3&is.brand=brand3",
    "pictures": "pictures/search?q=red",
    "nothing found": "shop/search?q=x&where=price+%3E+1000",
    "no filter": "shop/search?q=x&where=price+%3E",
    "item": "pictures/item?id=red",
    "recommend": "shop/recommend?user=u3&history=films-1-1&clicks=books-2-2&find=filmsword4",
    "rows": "shop/recommend?user=u3&as=rows",
    "users": "shop/item/users?id=films-1-1",
    "map": "pictures/map",
    "releases": "shop/releases",
    "monitoring": "shop/monitoring",
    "quarantine": "pictures/quarantine",
    "empty quarantine": "shop/quarantine",
    "evaluation": "shop/evaluation",
    "spaces": "/page/",
    "sign-in": "/page/sign-in",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    visit: Visit, name: str, size: tuple[int, int], scheme: str
):
    visitor = visit(size=size, scheme=scheme)
    visitor.go(PAGES[name])
    if name == "recommend":  # the reasons come after the list
        visitor.page.locator(".why summary").first.click()
    assert violations(visitor.page) == []
    width = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]
    if name == "no filter":
        visitor.complaints.clear()


@pytest.mark.parametrize("hand", HANDS)
def test_a_search_is_made_narrowed_and_followed_to_an_item(visit: Visit, hand: str):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("shop/search")
    visitor.write(page.get_by_label("Words to look for"), "filmsword3 films3x2")
    visitor.use(page.get_by_role("button", name="Search", exact=True))
    first = page.locator(".card-title").first
    visitor.says("24 items shown of 96 that the filters select")
    visitor.use(page.get_by_role("checkbox", name=re.compile("^books")))
    visitor.says("24 items shown of 48 that the filters select")
    assert "domain=books" in page.url
    assert first.inner_text().startswith("booksword")
    visitor.use(page.get_by_role("checkbox", name=re.compile("^books")))
    visitor.says("24 items shown of 96 that the filters select")
    visitor.use(page.locator(".card-link").first)
    page.wait_for_url("**/item?id=films-3-2")
    assert page.get_by_role("heading", level=1).inner_text() == "filmsword3 films3x2"
    page.go_back()
    assert page.get_by_label("Words to look for").input_value() == "filmsword3 films3x2"


def test_the_skip_link_leads_past_the_bar(visit: Visit):
    visitor = visit("keyboard")
    visitor.go("shop/search")
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    assert visitor.page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("hand", HANDS)
def test_a_picture_is_searched_by(visit: Visit, hand: str, tmp_path: Path):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("pictures/search")
    page.get_by_label("Search by a picture").set_input_files(
        picture_file(tmp_path, picture("blue", 20))
    )
    assert page.locator("#preview").is_visible()
    visitor.use(page.get_by_role("button", name="Find similar"))
    visitor.says(re.compile("items shown of 7 "))
    assert page.locator(".card-title").first.inner_text() == "blue"


@pytest.mark.parametrize("hand", HANDS)
def test_the_results_of_a_picture_are_narrowed(visit: Visit, hand: str, tmp_path: Path):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("pictures/search")
    page.get_by_label("Search by a picture").set_input_files(
        picture_file(tmp_path, picture("blue", 20))
    )
    visitor.use(page.get_by_role("button", name="Find similar"))
    visitor.says("7 items shown of 7 that the filters select")
    assert page.locator("#preview").is_visible()
    visitor.use(page.get_by_role("checkbox", name=re.compile("^dark")))
    visitor.says("2 items shown of 2 that the filters select")
    assert page.locator(".card-title").all_inner_texts() == ["blue", "black"]
    assert "Nearest to your picture" in page.inner_text(".summary-line")
    visitor.write(page.get_by_label("Words to look for"), "red")
    visitor.use(page.get_by_role("button", name="Search", exact=True))
    page.get_by_text("Nearest to “red”").wait_for()
    assert not page.locator("#preview").is_visible()


def test_a_picture_is_dropped(visit: Visit):
    visitor = visit()
    page = visitor.page
    visitor.go("pictures/search")
    page.evaluate(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
            for (const kind of ["dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        list(picture("green", 20)),
    )
    visitor.says(re.compile("items shown of 7 "))
    assert page.locator(".card-title").first.inner_text() == "green"


@pytest.mark.parametrize("hand", HANDS)
def test_a_history_is_put_together_and_a_click_changes_the_list(visit: Visit, hand: str):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("shop/recommend")
    visitor.write(page.get_by_label("Find items for the history"), "filmsword1 films1x1")
    visitor.use(page.get_by_role("button", name="Find", exact=True))
    visitor.use(page.get_by_role("button", name="Add filmsword1 films1x1 to the history"))
    chosen = page.locator(".chosen:not(.found) li", has_text="filmsword1 films1x1")
    chosen.get_by_role("button", name="Remove").wait_for()
    first = page.locator(".row h3 a").first.inner_text()
    visitor.says(f"12 items recommended. First: {first}")
    visitor.use(page.locator(".why summary").first)
    reasons = page.locator(".why").first.get_by_role("table", name="Because of")
    assert "filmsword1 films1x1" in reasons.inner_text()
    visitor.use(page.get_by_role("button", name=f"Click {first}"))
    page.locator(".chosen:not(.found) li", has_text=first).wait_for()
    titles = page.locator(".row h3 a").all_inner_texts()
    assert first not in titles
    assert page.locator(".row .badge").count() > 0
    visitor.use(page.get_by_role("button", name=f"Remove {first}"))
    page.locator(".row h3 a", has_text=first).wait_for()


@pytest.mark.parametrize("hand", HANDS)
def test_rows_are_shown_and_the_users_of_an_item(visit: Visit, hand: str):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("shop/recommend?user=u3")
    page.get_by_label("As", exact=True).select_option("rows")
    visitor.use(page.get_by_role("button", name="Show the list"))
    page.get_by_role("heading", name="Recommended for you").wait_for()
    title = page.locator(".card-title").first.inner_text()
    visitor.use(page.locator(".card-link").first)
    page.get_by_role("heading", name=title, level=1).wait_for()
    visitor.use(page.get_by_role("link", name="Whom to tell about it"))
    visitor.use(page.get_by_role("table").get_by_role("link").first)
    page.get_by_role("heading", name="Recommendations", level=1).wait_for()


@pytest.mark.parametrize("hand", HANDS)
def test_a_stored_click_changes_the_next_list_of_a_user(visit: Visit, own: Path, hand: str):
    visitor = visit(hand)
    page = visitor.page
    user = f"new-{hand}"
    visitor.go("own/recommend")
    visitor.write(page.get_by_label("User"), user)
    visitor.use(page.get_by_role("button", name="Show the list"))
    visitor.use(page.get_by_role("checkbox", name="Store clicks as events of this user"))
    visitor.use(page.get_by_role("button", name="Show the list"))
    button = page.get_by_role("button", name=re.compile("^Click .*, and store it$")).first
    button.wait_for()
    title = page.locator(".row h3 a").first.inner_text()
    visitor.use(button)
    page.locator(".row .badge").first.wait_for()
    assert title not in page.locator(".row h3 a").all_inner_texts()
    stored = opened(own).interactions(user).to_pylist()
    assert [row["event"] for row in stored] == ["click"]


@pytest.mark.parametrize("hand", HANDS)
def test_the_map_is_read_and_an_item_opened(visit: Visit, hand: str):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("pictures/map")
    canvas = page.get_by_role("application", name=re.compile("^Map of 7 items"))
    page.locator("#map[data-drawn='13']").wait_for()
    if hand == "keyboard":
        visitor.reach(canvas)
        for key in ("ArrowRight", "+", "ArrowUp", "ArrowLeft", "-", "0"):
            page.keyboard.press(key)
    else:
        box = canvas.bounding_box()
        for share in range(1, 20):  # along the middle, until a point is met
            page.mouse.move(box["x"] + box["width"] * share / 20, box["y"] + box["height"] / 2)
            for up in range(1, 20):
                page.mouse.move(
                    box["x"] + box["width"] * share / 20, box["y"] + box["height"] * up / 20
                )
        canvas.hover()
    link = page.locator("#map-card h2 a")
    link.wait_for()
    title = link.inner_text()
    visitor.use(link)
    page.wait_for_url("**/item?id=*")
    assert page.get_by_role("heading", level=1).inner_text() == title
    page.go_back()
    visitor.use(page.get_by_text("The map as a table"))
    assert page.get_by_role("row").count() == 14


@pytest.mark.parametrize("hand", HANDS)
def test_a_release_is_rolled_back_and_made_current_again(visit: Visit, own: Path, hand: str):
    visitor = visit(hand)
    page = visitor.page
    visitor.go("own/releases")
    page.get_by_role("heading", name="Release 2 current").wait_for()
    visitor.use(page.get_by_text("Roll back…"))
    visitor.use(page.get_by_role("button", name="Make release 1 current"))
    visitor.says("Release 1 is current now")
    assert opened(own).current_release == 1
    visitor.use(page.get_by_text("Make current…"))
    visitor.use(page.get_by_role("button", name="Make release 2 current"))
    visitor.says("Release 2 is current now")
    assert opened(own).current_release == 2


@pytest.mark.parametrize("hand", HANDS)
def test_a_measurement_is_made(visit: Visit, hand: str):
    visitor = visit(hand)
    visitor.go("own/monitoring")
    visitor.use(visitor.page.get_by_role("button", name="Measure now"))
    visitor.says("0 alarms")
    recall = visitor.page.get_by_role("table", name="Recall by named vector")
    assert recall.get_by_role("row").count() > 1
    assert visitor.page.get_by_role("img", name=re.compile("^Smallest recall@10")).is_visible()


@pytest.mark.parametrize("hand", HANDS)
def test_the_quarantine_is_tried_again(visit: Visit, hand: str):
    visitor = visit(hand)
    visitor.go("pictures/quarantine")
    row = visitor.page.get_by_role("row", name=re.compile("torn"))
    assert "not an image" in row.inner_text()
    visitor.use(visitor.page.get_by_role("button", name="Try all 1 again"))
    visitor.says("0 contents were encoded, 1 failed again")


def test_an_evaluation_is_made_and_read(visit: Visit):
    visitor = visit("keyboard")
    page = visitor.page
    visitor.go("own/evaluation")
    visitor.use(page.get_by_role("checkbox", name=re.compile("^cold_item:")))
    visitor.use(page.get_by_role("checkbox", name=re.compile("^warm:")))
    visitor.use(page.get_by_role("checkbox", name="films"))
    visitor.use(page.get_by_role("button", name="Evaluate", exact=True))
    page.locator(".own th").first.wait_for(timeout=600_000)
    table = page.get_by_role("table", name=re.compile("^ndcg@10")).first
    assert "isthmus" in table.inner_text()
    page.get_by_label("Metric").select_option("recall@10")
    visitor.use(page.get_by_role("button", name="Show"))
    page.get_by_role("table", name=re.compile("^recall@10")).first.wait_for()
    assert violations(page) == []


@pytest.mark.parametrize("hand", HANDS)
def test_one_signs_in_with_a_key_and_out(visit: Visit, shop: Path, tmp_path: Path, hand: str):
    file = KeyFile(tmp_path / "keys.json")
    key = file.create(KeyRequest(name="films team", scopes=("read",), domains="films"))
    app: Any = app_of(spaces={"shop": shop}, keys=file.path)
    with running(app) as address:
        visitor: Visitor = visit(hand, address=address)
        page = visitor.page
        visitor.go("shop/search?q=filmsword1")
        page.wait_for_url(re.compile(r"/sign-in\?next="))
        visitor.write(page.get_by_label("Key"), key)
        visitor.use(page.get_by_role("button", name="Sign in"))
        page.wait_for_url("**/search?q=filmsword1")
        visitor.says("24 items shown of 48 that the filters select")
        assert page.get_by_role("navigation").get_by_role("link").all_inner_texts() == [
            "Search",
            "Recommend",
            "Map",
        ]
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/page")
        assert page.evaluate("document.cookie") == ""
        visitor.use(page.get_by_role("button", name="Sign out"))
        page.wait_for_url("**/sign-in")
        assert page.context.cookies() == []


def test_hostile_data_runs_nothing(visit: Visit, tmp_path: Path):
    from tests.service.page.test_guarding import HOSTILE, HOSTILE_ID
    from tests.toy import item, text_encoder

    space = Space.create(tmp_path / "hostile.space", {"text": text_encoder()})
    rows = [item(HOSTILE_ID, HOSTILE, title=HOSTILE), item("b", "plain", "</script><b>")]
    space.upsert([{**row, "<i>": HOSTILE} for row in rows])
    with running(app_of(spaces={"hostile": space.path})) as address:
        visitor = visit(address=address)
        dialogs: list[str] = []
        visitor.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for path in ("search?q=plain", "recommend", "map"):
            visitor.go(f"hostile/{path}")
        canvas = visitor.page.locator("#map")
        canvas.focus()
        visitor.page.keyboard.press("ArrowRight")
        visitor.page.keyboard.press("ArrowLeft")
        visitor.page.locator("#map-card h2 a").wait_for()
        visitor.page.keyboard.press("Enter")
        visitor.page.get_by_role("heading", level=1).wait_for()
        assert dialogs == []
        assert visitor.page.locator("main b, main i, main script").count() == 0
