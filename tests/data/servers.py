"""Small web servers, honest and hostile, on this machine."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.http_server import QuietHandler, serving


class Answers(QuietHandler):
    """Answers by path; `seen` counts the requests."""

    seen: list[str]

    def do_GET(self):  # noqa: N802
        type(self).seen.append(self.path)
        if self.path in ("/moved", "/loop", "/inside", "/file"):
            self.send_response(302)
            to = {"/moved": "/picture", "/inside": "http://169.254.169.254/", "/file": "file:///x"}
            self.send_header("location", to.get(self.path, self.path))
            self.end_headers()
            return
        body = b"x" * (5000 if self.path == "/large" else 10)
        self.send_response(404 if self.path == "/absent" else 200)
        if self.path in ("/gzip", "/bomb", "/cut"):
            self.send_header("content-encoding", "gzip")
            body = gzip.compress(b"y" * (10**9 // 10 if self.path == "/bomb" else 10))
            body = body[:-6] if self.path == "/cut" else body
        if self.path == "/br":
            self.send_header("content-encoding", "br")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering() -> Iterator[tuple[str, list[str]]]:
    """Run a server; yield its address and the list of requested paths."""
    seen: list[str] = []
    with serving(Answers, seen=seen) as address:
        yield address, seen


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[str]:
    """Run a server that says something, and then says something more every 50 ms for ever."""

    def drip(connection: socket.socket) -> None:
        try:
            connection.recv(65536)
            connection.sendall(first)
            while True:
                connection.sendall(drop)
                time.sleep(0.05)
        except OSError:
            connection.close()

    with listening(drip) as address:
        yield address


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that does anything with a connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
