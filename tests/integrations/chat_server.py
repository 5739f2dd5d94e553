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
from typing import Any

from tests.http_server import JSONHandler, serving


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


class Handler(JSONHandler):
    server_state: ChatServer

    def do_POST(self):  # noqa: N802
        state, request = self.server_state, self.read_json()
        with state.lock:
            behaviour = state.behaviours.pop(0) if state.behaviours else None
            state.requests.append(request)
        if isinstance(behaviour, int):
            return self.send_json(behaviour, {"error": "busy"})
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
        self.send_json(200, {"choices": [{"message": {"content": content}}], "usage": usage})


@contextmanager
def chat_server(write: Callable[[dict[str, Any]], object]) -> Iterator[ChatServer]:
    """Run a server."""
    state = ChatServer(write)
    with serving(Handler, server_state=state) as address:
        state.address = f"{address}/v1"
        yield state
