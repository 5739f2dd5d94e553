"""HTTP servers of tests: one place where they are started, read JSON and answer with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *_):
        pass


class JSONHandler(QuietHandler):
    """Reads and writes JSON; `server_state` is what `serving` was given."""

    server_state: Any

    def read_json(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def send_json(self, status: int, body: object, **headers: str):
        self.send_content(status, json.dumps(body).encode(), **headers)

    def send_content(self, status: int, content: bytes, cut_at: int | None = None, **headers: str):
        """Send bytes, or the first of them where the connection is to break off."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut_at])


@contextmanager
def serving(handler: type[QuietHandler], **state: object) -> Iterator[str]:
    """Run a server whose handler has these attributes; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), state))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
