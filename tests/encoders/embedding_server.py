"""A server of ``/v1/embeddings`` around a toy encoder, that fails, stalls and lies when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from isthmus.encoders.encoder import Encoder
from tests.http_server import JSONHandler, serving
from tests.toy import text_encoder


@dataclass
class EmbeddingServer:
    """What the server does, and what it was asked.

    `behaviours` are used up one a request; after them it answers as it should. Texts that hold
    "forbidden" are refused whenever they come.
    """

    address: str = ""
    encoder: Encoder = field(default_factory=text_encoder)
    behaviours: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    delay_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]

    def spec(self, model: str = "toy", **options: object) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"openai/{model}?base_url={self.address}{more}"


class Handler(JSONHandler):
    server_state: EmbeddingServer

    def do_POST(self):  # noqa: N802
        state, request = self.server_state, self.read_json()
        with state.lock:
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            state.keys.append(self.headers.get("authorization"))
            behaviour = state.behaviours.pop(0) if state.behaviours else ""
            if not behaviour:
                state.requests.append(request)
        try:
            time.sleep(state.delay_s)
            answer = self._answer(request, behaviour)
        finally:
            with state.lock:  # before the answer, on which a client sends its next request
                state.at_once -= 1
        wait = {"retry_after": "0.25"} if behaviour == "429" else {}
        self.send_content(*answer, **wait)

    def _answer(self, request: dict[str, Any], behaviour: str) -> tuple[int, bytes, int | None]:
        """Return the status, the body, and where the body breaks off."""
        if behaviour.isdecimal():
            key = self.headers.get("authorization") or ""
            return int(behaviour), _json({"error": f"no luck with {key}"}), None
        if behaviour == "stall":
            time.sleep(1.0)
        if any("forbidden" in text for text in request["input"]):
            return 400, _json({"error": "a text is too long"}), None
        vectors = self.server_state.encoder.encode(request["input"]).tolist()
        if behaviour == "dimension":
            vectors = [vector[:-1] for vector in vectors]
        if behaviour == "nan":
            vectors[0][1] = float("nan")
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        if behaviour == "half":
            data = data[: len(data) // 2]
        if behaviour == "same index":
            data = [{**one, "index": 0} for one in data]
        body = {"data": data[::-1], "model": request["model"]}  # in any order: the index says which
        if behaviour == "no data":
            body = {"vectors": vectors}
        if behaviour == "html":
            return 200, b"<html>", None
        content = _json(body)
        return 200, content, len(content) // 2 if behaviour == "truncated" else None


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


@contextmanager
def embedding_server(**options: Any) -> Iterator[EmbeddingServer]:
    """Run a server."""
    state = EmbeddingServer(**options)
    with serving(Handler, server_state=state) as address:
        state.address = f"{address}/v1"
        yield state
