"""A browser for tests: Debian's Chromium by its path, and what a person does with it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 120_000  # a limit for a broken page, never reached by a slow one
MAX_TABS = 150
WIDE, NARROW = (1280, 900), (390, 844)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; install it with: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        # A container has no user namespaces, and its superuser no sandbox.
        sandboxed = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandboxed)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """A person at a page, with a mouse or a keyboard alone.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The page.
    address : str
        Of the service.
    hand : str
        ``mouse`` or ``keyboard``.
    complaints : list of str
        What the console said, and requests that went elsewhere.
    """

    page: Any
    address: str
    hand: str = "mouse"
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._left)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _left(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.complaints.append(f"it asked for {request.url}")

    def go(self, path: str) -> None:
        """Open a page of a space, or an address."""
        full = path if path.startswith("/") else f"/page/spaces/{path}"
        self.page.goto(f"{self.address}{full}", wait_until="load")

    def use(self, locator: Any) -> None:
        """Press a button, follow a link, open details or tick a box."""
        if self.hand == "mouse":
            locator.click()
            return
        self.reach(locator)
        kind = locator.evaluate("e => e.type ?? e.tagName")
        self.page.keyboard.press("Space" if kind in ("checkbox", "radio") else "Enter")

    def write(self, locator: Any, text: str) -> None:
        """Write into a field."""
        if self.hand == "mouse":
            locator.click()
        else:
            self.reach(locator)
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.type(text)

    def reach(self, locator: Any) -> None:
        """Press Tab until the focus, which must be seen, is at an element."""
        for _ in range(MAX_TABS):
            if locator.evaluate("e => e === document.activeElement"):
                seen = locator.evaluate(
                    "e => [e, e.closest('.card') ?? e].some(one => "
                    "getComputedStyle(one).outlineStyle !== 'none')"
                )
                assert seen, "the focus cannot be seen"
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"no Tab leads to {locator}")

    def says(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page announces something to screen readers."""
        from playwright.sync_api import expect

        expect(self.page.locator("#announcement")).to_have_text(text, timeout=WAIT_MS)


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with a page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found
        for node in one["nodes"]
    ]


def picture_file(folder: Path, data: bytes) -> Path:
    file = folder / "picture.png"
    file.write_bytes(data)
    return file
