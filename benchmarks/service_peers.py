"""Vector search over HTTP beside Chroma's server, and beside Qdrant's client in this process.

``python benchmarks/service_peers.py --vectors V --rows 100000``

The same vectors, held-out queries and connections for all, one after the other. Chroma's
``ef_search`` is the smallest of a list whose recall@10 is at least that of Isthmus. Qdrant's server
is no Python package: its client in local mode answers in this process, exactly, without HTTP.
Vectors are those of real texts, see real_vectors.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pyarrow as pa
from common.data import Floats
from common.http_load import closed_loop, free_port, memory_of, messages_of
from qdrant_client import QdrantClient, models
from real_vectors import real_vectors

from isthmus import Space

QUERIES, K = 512, 10
CHUNK_ROWS = 5_000
EF_SEARCH = (10, 20, 40, 80, 160, 320, 640)
COLLECTION = "items"
START_S = 60.0


def post(port: int, path: str, body: bytes) -> Any:
    """Return the answer to one request."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=START_S) as answer:
        return json.load(answer)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a service answers."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=START_S).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{address} does not answer")


def recall_of(found: list[list[int]], base: Floats, queries: Floats) -> float:
    """Return recall@10; what ties with the tenth best counts."""
    scores = queries @ base.T
    tenth = np.partition(scores, -K, axis=1)[:, -K] - 1e-5
    hits = [(scores[at, rows] >= tenth[at]).sum() for at, rows in enumerate(found)]
    return float(np.sum(hits) / (len(queries) * K))


def measured(
    process: subprocess.Popen[bytes],
    port: int,
    path: str,
    bodies: list[bytes],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return the figures of a service, and its memory."""
    messages = messages_of(path, bodies)
    figures = closed_loop(process.pid, port, messages, options.connections, options.seconds)
    memory = sum(of["proportional_mb"] for of in memory_of(process.pid).values())
    return {**figures, "memory_mb": memory}


def isthmus(folder: Path, base: Floats, queries: Floats, options: argparse.Namespace) -> Any:
    """Serve a space, and return its figures."""
    space = Space.create(folder / "items.space", "none")
    ids = [str(row) for row in range(len(base))]
    space.upsert(pa.table({"item_id": ids, "v": list(base)}), domain="items", vector="v")
    manifest = space.publish(recall=options.recall)
    port = free_port()
    command = [sys.executable, "-m", "isthmus", "serve", str(space.path), "--port", str(port)]
    process = subprocess.Popen([*command, "--workers", str(options.workers)])
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        bodies = [json.dumps({"vector": q.tolist(), "k": K}).encode() for q in queries]
        found = [[int(h["item_id"]) for h in post(port, "/v1/search", b)["hits"]] for b in bodies]
        (index,) = manifest.named_vectors.values()
        return {
            "peer": f"isthmus, {options.workers} workers, {index.recipe}",
            "recall": round(recall_of(found, base, queries), 4),
            **measured(process, port, "/v1/search", bodies, options),
        }
    finally:
        process.terminate()
        process.wait()


class ChromaServer:
    """A server of Chroma over a folder.

    Parameters
    ----------
    folder : Path
        Its data.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        program = Path(sys.executable).with_name("chroma")
        command = [str(program), "run", "--path", str(folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(f"http://127.0.0.1:{self.port}/api/v2/heartbeat", self.process)
        settings = chromadb.Settings(anonymized_telemetry=False)
        self.client = chromadb.HttpClient("127.0.0.1", self.port, settings=settings)

    def __enter__(self) -> ChromaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def chroma(
    folder: Path, base: Floats, queries: Floats, options: argparse.Namespace, target: float
) -> Any:
    """Serve a collection of Chroma, and return its figures at a recall.

    Its server reads ``ef_search`` when it opens a collection, so it begins anew for each value.
    """
    with ChromaServer(folder) as server:
        hnsw = {"space": "ip", "ef_construction": 200, "max_neighbors": 16, "ef_search": 10}
        items = server.client.create_collection(
            COLLECTION, configuration={"hnsw": hnsw}, embedding_function=None
        )
        for start in range(0, len(base), CHUNK_ROWS):
            rows = range(start, min(start + CHUNK_ROWS, len(base)))
            items.add(ids=[str(row) for row in rows], embeddings=base[start : rows.stop])
    path = f"/api/v2/tenants/default_tenant/databases/default_database/collections/{items.id}"
    bodies = [
        json.dumps({"query_embeddings": [q.tolist()], "n_results": K, "include": []}).encode()
        for q in queries
    ]
    for ef_search in EF_SEARCH:
        with ChromaServer(folder) as server:
            items = server.client.get_collection(COLLECTION, embedding_function=None)
            items.modify(configuration={"hnsw": {"ef_search": ef_search}})
        with ChromaServer(folder) as server:
            found = [
                [int(n) for n in post(server.port, f"{path}/query", body)["ids"][0]]
                for body in bodies
            ]
            recall = recall_of(found, base, queries)
            if recall >= target or ef_search == EF_SEARCH[-1]:
                return {
                    "peer": f"Chroma {chromadb.__version__} server, ef_search {ef_search}",
                    "recall": round(recall, 4),
                    **measured(server.process, server.port, f"{path}/query", bodies, options),
                }
    raise AssertionError("the last value is always measured")


def qdrant(base: Floats, queries: Floats, options: argparse.Namespace) -> Any:
    """Return the rate of Qdrant's client in local mode."""
    client = QdrantClient(":memory:")
    shape = models.VectorParams(size=base.shape[1], distance=models.Distance.DOT)
    client.create_collection(COLLECTION, vectors_config=shape)
    for start in range(0, len(base), CHUNK_ROWS):
        part = base[start : start + CHUNK_ROWS]
        client.upload_collection(COLLECTION, part, ids=range(start, start + len(part)))
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < options.seconds:
        client.query_points(COLLECTION, query=queries[done % QUERIES].tolist(), limit=K)
        done += 1
    rate = done / (time.perf_counter() - begun)
    return {"peer": "Qdrant client, local mode", "recall": 1.0, "requests_s": round(rate, 1)}


def main() -> None:
    """Measure, and print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="see real_vectors.py")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    vectors = np.array(real_vectors(options.rows + QUERIES, options.vectors))
    np.random.default_rng(0).shuffle(vectors)  # their order is that of several sets of texts
    base, queries = vectors[: options.rows], vectors[options.rows :]
    with tempfile.TemporaryDirectory() as folder:
        own = isthmus(Path(folder), base, queries, options)
        print(json.dumps(own), flush=True)
        other = chroma(Path(folder) / "chroma", base, queries, options, own["recall"])
        print(json.dumps(other), flush=True)
        print(json.dumps(qdrant(base, queries, options)), flush=True)
        ratio = round(own["requests_s"] / other["requests_s"], 2)
        print(json.dumps({"requests_s, ratio to Chroma": ratio}), flush=True)


if __name__ == "__main__":
    main()
