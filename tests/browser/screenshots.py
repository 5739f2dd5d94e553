"""Draw the page for the documentation: ``python -m tests.browser.screenshots``.

The bundled catalogue is loaded, trained and published twice, one picture of it is damaged, and the
pages are asked for what they show. ``--space`` takes a space that was made so before.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from isthmus import Space
from isthmus.service.app import make_app
from isthmus.service.settings import ServeSettings
from tests.browser.browsing import NARROW, Visitor, chromium
from tests.service.serving import running

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "examples/catalogue"
IMAGES = ROOT / "docs/images"
DOMAINS = ("films", "books", "products", "music")
MAX_BYTES = 150_000
SIZE = (1240, 820)
JOB_S = 1_200
# Whether every picture in sight is there.
LOADED = (
    "[...document.images].every(one => one.complete || "
    "one.getBoundingClientRect().top > innerHeight)"
)
# Name, page, and how it looks.
SHOTS = (
    ("search", "search?q=a+ship+in+a+storm", "light"),
    ("item", "item?id=film-011", "dark"),
    ("recommend", "recommend?user=u3&domain=films", "light"),
    ("rows", "recommend?user=u3&as=rows", "light"),
    ("users", "item/users?id=film-011", "light"),
    ("map", "map", "light"),
    ("releases", "releases", "light"),
    ("monitoring", "monitoring", "light"),
    ("quarantine", "quarantine", "dark"),
    ("evaluation", "evaluation", "light"),
)


def build(folder: Path) -> Path:
    """Return the folder of a space of the catalogue, with two releases and a quarantine."""
    space = Space.create(folder / "catalogue.space", "local")
    for domain in DOMAINS:
        space.upsert(CATALOGUE / f"{domain}.jsonl", text="{title}. {description}")
    space.publish()
    space.add_interactions(CATALOGUE / "ratings.csv")
    space.train()
    space.publish()
    return space.path


def damage(space: Space) -> None:
    """Add items whose pictures cannot be decoded."""
    whole = (CATALOGUE / "pictures/film-011.png").read_bytes()
    space.upsert(
        [
            {"item_id": "film-071", "title": "Half a Reel", "text": "Half a Reel."}
            | {"image": whole[: len(whole) // 2]},
            {"item_id": "film-072", "title": "Not a Frame", "text": "Not a Frame."}
            | {"image": b"<!doctype html><title>404</title>"},
        ],
        domain="films",
    )


def measure(visitor: Visitor, space: str) -> None:
    """Start what the pages show, and wait for it."""
    page = visitor.page
    for name, button in (("monitoring", "Measure now"), ("evaluation", "Evaluate")):
        visitor.go(f"{space}/{name}")
        if page.locator("section table.data").count():
            continue
        if name == "evaluation":  # of all domains, it takes minutes
            page.get_by_role("checkbox", name="films").check()
        if page.get_by_role("button", name=button, exact=True).is_enabled():
            page.get_by_role("button", name=button, exact=True).click()
        deadline = time.monotonic() + JOB_S
        while not page.locator("section table.data").count():
            assert time.monotonic() < deadline, page.inner_text("main")
            page.wait_for_timeout(2_000)


def small(png: bytes) -> bytes:
    """Return a PNG of at most 256 colours, and so large that it goes into a repository."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    while True:
        out = io.BytesIO()
        image.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MAX_BYTES:
            return out.getvalue()
        image = image.resize(
            (image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS
        )


@contextmanager
def served(space: Path) -> Iterator[str]:
    """Serve a space to this machine."""
    settings = ServeSettings(spaces={"shop": space})
    with running(make_app(settings)) as address:
        yield address


def take(browser: Any, address: str, folder: Path) -> None:
    """Write all pictures."""
    visitor = Visitor(browser.new_context().new_page(), address)
    measure(visitor, "shop")
    for name, path, scheme in SHOTS:
        write(browser, address, path, scheme, SIZE, folder / f"page_{name}.png")
    write(browser, address, SHOTS[2][1], "dark", NARROW, folder / "page_narrow.png")


def write(
    browser: Any, address: str, path: str, scheme: str, size: tuple[int, int], file: Path
) -> None:
    """Write the picture of a page."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    visitor = Visitor(context.new_page(), address)
    visitor.go(f"shop/{path}")
    page = visitor.page
    if path.startswith("recommend") and "as=rows" not in path and size == SIZE:
        page.locator(".why summary").first.click()
    if path == "map":
        page.locator("#map").focus()
        page.keyboard.press("ArrowRight")
        page.locator("#map-card h2").wait_for()
    page.wait_for_load_state("networkidle")
    while not page.evaluate(LOADED):
        page.wait_for_timeout(200)
    file.write_bytes(small(page.screenshot()))
    context.close()


def main() -> None:
    """Write the pictures into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, help="a space that was made before")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = given.space or build(Path(folder))
        if not Space.open(space).quarantine():
            damage(Space.open(space))
        with served(space) as address, chromium() as browser:
            take(browser, address, given.out)


if __name__ == "__main__":
    main()
