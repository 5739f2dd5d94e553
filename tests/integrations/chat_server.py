"""A server of ``/v1/chat/completions`` with a small obedient writer, that can be late and hostile.

The writer does what stands in the system message, and, like a gullible model, also what stands in
any other message outside of a JSON document.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """What the server writes, and what it was asked; `behaviours` are used up one a request."""

    write: Callable[[dict[str, Any]], object]
    address: str = ""
    behaviours: list[object] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 100
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spec(self, **options: object) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"openai/writer?base_url={self.address}{more}"


class Handler(BaseHTTPRequestHandler):
    server_state: ChatServer

    def do_POST(self):
        state = self.server_state
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with state.lock:
            behaviour = state.behaviours.pop(0) if state.behaviours else None
            state.requests.append(request)
        if isinstance(behaviour, int):
            return self._send(behaviour, {"error": "busy"})
        if behaviour == "late":
            time.sleep(0.6)
        if isinstance(behaviour, str) and behaviour != "late":
            return self._say(behaviour)
        user = request["messages"][-1]["content"]
        try:
            data = json.loads(user)
        except ValueError:
            return self._say(user)  # what stands outside of a document is obeyed
        return self._say(json.dumps(state.write(data)))

    def _say(self, content: str):
        usage = {"total_tokens": self.server_state.tokens}
        self._send(200, {"choices": [{"message": {"content": content}}], "usage": usage})

    def _send(self, status: int, body: object):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def chat_server(write: Callable[[dict[str, Any]], object]) -> Iterator[ChatServer]:
    """Run a server."""
    state = ChatServer(write)
    handler = type("Handler", (Handler,), {"server_state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
