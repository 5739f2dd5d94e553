"""A service in this process, for tests: real HTTP over loopback, the space's toy encoders."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from isthmus import Space
from isthmus.service.app import make_app
from isthmus.service.settings import ServeSettings
from tests.toy import text_encoder

START_S = 60  # a limit for a broken server, never reached by a slow one


def toy_space(path: Path) -> Space:
    return Space.open(path, encoder={"text": text_encoder()})


def app_of(**settings: object) -> FastAPI:
    return make_app(ServeSettings(**settings), toy_space)


def plain_app(**settings: object) -> FastAPI:
    """An application of spaces that are opened as they are."""
    return make_app(ServeSettings(**settings))


class Server(uvicorn.Server):
    """A server that says when it has begun to answer."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False))
        self.begun = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port of loopback; yield its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    assert server.begun.wait(START_S)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def send(
    app: FastAPI,
    method: str,
    path: str,
    body: Any = None,
    key: str | None = None,
    *,
    content: bytes | None = None,
    headers: dict[str, Any] | None = None,
) -> httpx.Response:
    """Ask an application in process, as a client on this machine."""
    given: dict[str, Any] = dict(headers or {})
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    if body is not None:
        content = json.dumps(body).encode()
        given.setdefault("content-type", "application/json")

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, content=content, headers=given)

    return asyncio.run(run())
