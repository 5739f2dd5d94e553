"""Processes that serve: several workers, other writers, batches of texts, an orderly end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from isthmus import Space
from isthmus.service.batching import BatchedEncoder, QueryBatcher
from tests.service.conftest import ROWS, rows_of
from tests.service.serving import START_S, Server, app_of
from tests.toy import text_encoder


def ask(address: str, **body: Any) -> dict[str, Any]:
    """Search on a connection of its own, which either worker may take."""
    answer = httpx.post(f"{address}/v1/search", json=body, timeout=START_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("changes", [5, pytest.param(100, marks=pytest.mark.heavy)])
def test_workers_serve_what_another_process_writes_and_never_mix_it(generations, workers, changes):
    address, process = workers
    vector = [1.0] * 8
    stop, seen, problems = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                found = ask(address, vector=vector, k=ROWS, attributes=True)
                generations = {hit["attributes"]["generation"] for hit in found["hits"]}
                assert (len(found["hits"]), len(generations)) == (ROWS, 1)
                seen.append((found["release"], *generations))
            except Exception as error:
                problems.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for generation in range(1, changes + 1):
        generations.update(rows_of(generation))
        # Whichever worker takes the next requests: both see it.
        for _ in range(6):
            (hit, *_rest) = ask(address, vector=vector, k=1, attributes=True)["hits"]
            assert hit["attributes"]["generation"] == generation
        number = generations.publish().number
        assert {ask(address, vector=vector, k=1)["release"] for _ in range(6)} == {number}
        former = generations.rollback()
        assert {ask(address, vector=vector, k=1)["release"] for _ in range(6)} == {former}
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert {generation for _, generation in seen} <= set(range(changes + 1))
    text = httpx.get(f"{address}/metrics").text
    counted = sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("isthmus_requests_total{") and '"search"' in line
    )
    assert counted >= len(seen) + 18 * changes  # of both workers
    process.terminate()
    assert process.wait(START_S) in (0, -15)


def test_running_requests_are_answered_before_the_service_ends(shop, monkeypatch):
    import socket

    begun, opened = threading.Event(), threading.Event()
    count = Space.count

    def slow(space: Space, *args: Any, **kwargs: Any) -> int:
        begun.set()
        assert opened.wait(START_S)
        return int(count(space, *args, **kwargs))

    monkeypatch.setattr(Space, "count", slow)
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app_of(spaces={"shop": shop}))
    serving = threading.Thread(target=server.run, args=([listening],))
    serving.start()
    assert server.begun.wait(START_S)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(httpx.post, f"{address}/v1/count", json={}, timeout=START_S)
        assert begun.wait(START_S)
        server.should_exit = True
        opened.set()
        assert answer.result().json()["count"] == 96
    serving.join()
    listening.close()


def wait_until_queued(batcher: QueryBatcher, texts: int) -> None:
    end = time.monotonic() + START_S
    while batcher.waiting < texts:
        assert time.monotonic() < end
        time.sleep(0.001)


def encode_together(encoder: Any, texts: list[str]) -> tuple[list[Any], QueryBatcher, list[int]]:
    """Encode one text, and while it is encoded all others; return results and batch sizes."""
    begun, opened, sizes = threading.Event(), threading.Event(), []

    def encode(batch: list[str]) -> Any:
        sizes.append(len(batch))
        begun.set()
        assert opened.wait(START_S)
        return encoder.encode(batch, "text", "query")

    batcher = QueryBatcher(encode, 4)

    def one(text: str) -> Any:
        try:
            return batcher.encode(text)[0]
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(texts)) as threads:
        first = threads.submit(one, texts[0])
        assert begun.wait(START_S)
        others = [threads.submit(one, text) for text in texts[1:]]
        wait_until_queued(batcher, len(texts) - 1)
        opened.set()
        return [future.result() for future in (first, *others)], batcher, sizes


def test_texts_that_come_meanwhile_are_encoded_together():
    encoder, texts = text_encoder(), [f"word{n}" for n in range(8)]
    found, batcher, sizes = encode_together(encoder, texts)
    assert sizes == [1, 4, 3]
    assert (batcher.batches, batcher.texts) == (3, 8)
    for text, vector in zip(texts, found, strict=True):
        expected = encoder.encode([text], "text", "query")[0]
        assert vector.tolist() == expected.tolist()


def test_a_text_that_is_refused_fails_no_other():
    class Picky:
        def encode(self, texts: list[str], *_: Any) -> Any:
            if "bad" in texts:
                raise ValueError("refused: bad")
            return np.ones((len(texts), 2), np.float32)

    found, _, _ = encode_together(Picky(), ["a", "b", "bad", "c"])
    assert [one if isinstance(one, str) else one.tolist() for one in found] == [
        [1.0, 1.0],
        [1.0, 1.0],
        "refused: bad",
        [1.0, 1.0],
    ]


def test_documents_and_instructions_are_not_batched():
    encoder = text_encoder()
    batched = BatchedEncoder(encoder, 8)
    expected = encoder.encode(["a", "b"], "text", "document")
    assert batched.encode(["a", "b"], "text", "document").tolist() == expected.tolist()
    assert batched.batcher.batches == 0
    assert batched.encode(["a"], "text", "query").shape == (1, encoder.dim)
    assert (batched.batcher.batches, batched.dim) == (1, encoder.dim)
