"""A shop that is served once for all tests that only read, and copies for those that write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus import Space, connect
from isthmus.client.remote import RemoteSpace
from tests.retrieval.recommend.worlds import name
from tests.service.serving import START_S, app_of, running, toy_space
from tests.shared import built_once


def details(domain: str, taste: int, n: int) -> dict[str, Any]:
    return {
        "item_id": name(domain, taste, n),
        "domain": domain,
        "brand": f"brand{taste % 4}",
        "price": float(10 * taste + n),
        "released": date(2000 + taste, 1, 1 + n),
        "tags": [f"tag{n % 2}", "any"],
    }


@pytest.fixture(scope="session")
def shop(board: Space, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained shop, whose second release is published; nobody writes to it."""

    def build(folder: Path) -> None:
        space = toy_space(Path(shutil.copytree(board.path, folder / "shop.space")))
        rows = [details(d, t, n) for d in ("films", "books") for t in range(8) for n in range(6)]
        space.upsert(rows)
        space.add_users([{"user_id": "u1", "country": "NL"}])
        space.publish()

    return built_once(tmp_path_factory, "service-shop", build) / "shop.space"


@pytest.fixture
def own_shop(shop: Path, tmp_path: Path) -> Path:
    """A copy of the shop, to write to."""
    return Path(shutil.copytree(shop, tmp_path / "shop.space"))


@pytest.fixture(scope="session")
def address(shop: Path) -> Iterator[str]:
    """The address of a service of the shop, without keys."""
    with running(app_of(spaces={"shop": shop})) as found:
        yield found


Served = Callable[[Path], tuple[Space, RemoteSpace]]


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a folder; returns the space of it and the client of the service."""
    with ExitStack() as stack:

        def start(folder: Path, **settings: Any) -> tuple[Space, RemoteSpace]:
            found = stack.enter_context(running(app_of(spaces={"shop": folder}, **settings)))
            return toy_space(folder), stack.enter_context(connect(found))

        yield start


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the verbs are carried out."""
    return str(request.param)


@pytest.fixture
def space(place: str, shop: Path, address: str) -> Iterator[Space | RemoteSpace]:
    """The shop, to read: in its folder, or behind its service."""
    if place == "local":
        yield toy_space(shop)
        return
    with connect(address) as remote:
        yield remote


@pytest.fixture
def own(place: str, own_shop: Path, served: Served) -> Space | RemoteSpace:
    """A shop to write to: in its folder, or behind a service of its own."""
    return toy_space(own_shop) if place == "local" else served(own_shop)[1]


ROWS = 40


def rows_of(generation: int) -> list[dict[str, Any]]:
    """Items that say of which generation they are; all change at once."""
    return [
        {"item_id": f"i{n}", "domain": "things", "generation": generation, "at": n}
        for n in range(ROWS)
    ]


@pytest.fixture
def generations(tmp_path: Path) -> Space:
    """A published space whose items all say of which generation they are."""
    space = Space.create(tmp_path / "things.space", "none", vectors={"embedding": 8})
    vectors = np.random.default_rng(0).standard_normal((ROWS, 8)).astype(np.float32)
    space.upsert(rows_of(0), vector=vectors)
    space.publish()
    return space


@pytest.fixture
def workers(generations: Space) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of ``isthmus serve`` with two workers, both of which answer."""
    command = [sys.executable, "-m", "isthmus", "serve", str(generations.path), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workers", "2"], cwd=Path.cwd(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address, answering = "", 0
    try:
        while not address or answering < 2:
            line = process.stderr.readline()
            assert line, f"the service ended with {process.wait()}"
            said = json.loads(line)["message"]
            if said.startswith("serving things at "):
                address = said.split()[3]
            answering += said.endswith(" answers")
        drained = threading.Thread(target=process.stderr.read)  # so that it never waits for us
        drained.start()
        yield address, process
    finally:
        process.terminate()
        process.wait(START_S)
        drained.join()
