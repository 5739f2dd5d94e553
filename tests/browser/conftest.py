"""Spaces that are served to a browser: a trained shop, pictures, one that is written to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus import Space
from isthmus.service.app import make_app
from isthmus.service.settings import ServeSettings
from tests.browser.browsing import WIDE, Visitor, chromium
from tests.service.conftest import shop  # noqa: F401  (fixture)
from tests.service.serving import running
from tests.toy import COLOURS, item, joint_encoder, picture, text_encoder

Visit = Callable[..., Visitor]


def opened(path: Path) -> Space:
    encoder = joint_encoder() if path.name == "pictures.space" else {"text": text_encoder()}
    return Space.open(path, encoder=encoder)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space whose red picture is what the word red is; one picture is none."""
    space = Space.create(tmp_path_factory.mktemp("browser") / "pictures.space", joint_encoder())
    dark = ("blue", "black")
    rows = [
        item(name, name, "colours", image=picture(name), tone="dark" if name in dark else "light")
        for name in COLOURS
    ]
    space.upsert([*rows, item("torn", "a torn picture", "colours", image=b"no picture")])
    space.publish()
    return space.path


@pytest.fixture(scope="session")
def own(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A copy of the shop, to write to."""
    return Path(shutil.copytree(shop, tmp_path_factory.mktemp("own") / "own.space"))


@pytest.fixture(scope="session")
def address(shop: Path, pictures: Path, own: Path) -> Iterator[str]:  # noqa: F811
    spaces = {"shop": shop, "pictures": pictures, "own": own}
    with running(make_app(ServeSettings(spaces=spaces), opened)) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    """Make a visitor; whatever a test does, no console of them may complain."""
    visitors: list[Visitor] = []

    def make(
        hand: str = "mouse",
        size: tuple[int, int] = WIDE,
        scheme: str = "light",
        address: str = address,
    ) -> Visitor:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        visitors.append(Visitor(context.new_page(), address, hand))
        return visitors[-1]

    yield make
    complaints = [said for visitor in visitors for said in visitor.complaints]
    for visitor in visitors:
        visitor.page.context.close()
    assert complaints == []
