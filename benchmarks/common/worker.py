"""A worker process for each peer, so that memory and thread pools are separate."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from peers import Peer, make_peer

from common.data import AttributeFilter, Integers, read_data
from common.process import CORES, limit_threads, settled_mib, use_cores

MIN_BATCH = 4
CHUNK_ENDS = (MIN_BATCH, 10, 25, 50, 100)
WARM_UP_ROWS = 2_000
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}  # of all threads of a process


class Worker:
    """Builds and measures one peer, in a separate process.

    Parameters
    ----------
    name : str
        The peer, see `peers.PEERS`.
    data : Path
        Folder that `write_data` filled.
    folder : Path
        Folder into which the peer may write.
    threads, build_threads : int
        Threads, and cores, of a search and of a build.
    clock : str
        Clock of the timings, see `CLOCKS`.
    """

    def __init__(
        self, name: str, data: Path, folder: Path, threads: int, build_threads: int, clock: str
    ) -> None:
        folder.mkdir(parents=True)
        self._clock = CLOCKS[clock]
        self._data, self.folder = data, folder
        self._threads, self._build_threads = threads, build_threads
        self.peer = make_peer(name, folder)
        self._queries = np.load(data / "queries.npy")
        self._load_libraries(make_peer(name, folder / "small"))
        self._before = settled_mib()
        self._count, self._rate = len(self._queries), float("inf")

    def describe(self) -> dict[str, Any]:
        """Return the peer's settings, what its size counts, and whether it filters."""
        peer = self.peer
        return {"settings": peer.settings, "measured": peer.measured, "filters": peer.filters}

    def build(self) -> float:
        """Build the index, and return the seconds."""
        data = read_data(self._data)
        return self._time_build(lambda: self.peer.build(data.base, data.attributes))

    def grids(self, rows: int) -> list[list[Any]]:
        """Return the settings to try, cheapest first."""
        return self.peer.grids(rows)

    def tune(self, parameters: Any) -> float:
        """Apply a setting, and return the seconds (some peers rebuild)."""
        return self._time_build(lambda: self.peer.tune(parameters))

    def choose(self, queries: Integers) -> None:
        """Use only some of the queries in later measurements."""
        self._queries = np.load(self._data / "queries.npy")[queries]

    def answers(
        self, k: int, limit_s: float, row_filter: AttributeFilter | None = None
    ) -> Integers:
        """Return retrieved rows, shape (n, k), of as many queries as the time limit allows.

        Later timings use at most these queries.
        """
        chunks, elapsed, start = [], 0.0, time.perf_counter()
        for first, last in pairwise(_chunk_ends(len(self._queries))):
            if chunks and elapsed * last / first > limit_s:
                break
            queries = self._queries[first:last]
            chunks.append(self.peer.rows(self._search(queries, k, row_filter), len(queries), k))
            elapsed = time.perf_counter() - start
            self._count, self._rate = last, last / elapsed
        return np.concatenate(chunks)

    def batch(self, k: int, limit_s: float, row_filter: AttributeFilter | None = None) -> float:
        """Return queries per second of one batch, whose size the time limit determines."""
        count = int(min(self._count, max(MIN_BATCH, limit_s * self._rate)))
        queries = self._queries[:count]
        return count / self._seconds(lambda: self._search(queries, k, row_filter))

    def singles(
        self, k: int, limit_s: float, row_filter: AttributeFilter | None = None
    ) -> list[float]:
        """Return the seconds of single queries, one after another, within the time limit."""
        self._search_one(self._queries[0], k, row_filter)
        seconds, start = [], time.perf_counter()
        for query in self._queries[: self._count]:
            seconds.append(self._seconds(partial(self._search_one, query, k, row_filter)))
            if time.perf_counter() - start > limit_s:
                break
        return seconds

    def memory(self, rows: int) -> dict[str, float]:
        """Return bytes per vector: the size of the index, and the growth of resident memory."""
        growth = (settled_mib() - self._before) * 2**20
        return {"bytes": self.peer.bytes() / rows, "rss": growth / rows}

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call a method that is specific to this peer."""
        return getattr(self.peer, name)(*arguments)

    def _load_libraries(self, small: Peer) -> None:
        """Build a small index, so that one-time memory of the library is not counted."""
        (self.folder / "small").mkdir()
        data = read_data(self._data)
        small_attributes = {name: np.arange(WARM_UP_ROWS) for name in data.attributes}
        small.use_threads(self._build_threads)
        small.build(np.array(data.base[:WARM_UP_ROWS]), small_attributes)
        small.tune(small.grids(WARM_UP_ROWS)[0][0])
        small.search(self._queries[:2], 2)

    def _time_build(self, build: Callable[[], None]) -> float:
        use_cores(self._build_threads)
        self.peer.use_threads(self._build_threads)
        seconds = self._seconds(build)
        self.peer.use_threads(self._threads)
        use_cores(self._threads)
        return seconds

    def _search(self, queries: Any, k: int, row_filter: AttributeFilter | None) -> Any:
        if row_filter is None:
            return self.peer.search(queries, k)
        return self.peer.search_filtered(queries, k, row_filter)

    def _search_one(self, query: Any, k: int, row_filter: AttributeFilter | None) -> Any:
        if row_filter is None:
            return self.peer.search_one(query, k)
        return self.peer.search_one_filtered(query, k, row_filter)

    def _seconds(self, work: Callable[[], Any]) -> float:
        start = self._clock()
        work()
        return self._clock() - start


class Remote:
    """A worker in another process; its methods are called through `call`.

    Attributes
    ----------
    built_s : float
        Seconds of its build.
    """

    built_s = 0.0

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child_pipe = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_pipe, arguments), daemon=True)
        self._process.start()
        child_pipe.close()
        self._receive()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the worker, and return its result."""
        self._pipe.send((name, arguments))
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.terminate()

    def _receive(self) -> Any:
        try:
            succeeded, value = self._pipe.recv()
        except EOFError as error:
            raise PeerFailed("its process died") from error
        if not succeeded:
            raise PeerFailed(value)
        return value


class PeerFailed(Exception):
    """The library of a peer is missing, or a peer failed."""


def start_workers(
    names: list[str],
    data: Path,
    folder: Path,
    threads: int,
    build_threads: int,
    clock: str = "wall",
) -> dict[str, Remote]:
    """Start and build the peers, one after another; one that is missing or fails is skipped."""
    limit_threads(threads, min(build_threads, len(CORES)))
    workers = {}
    for name in names:
        try:
            worker = Remote(name, data, folder / name, threads, build_threads, clock)
            worker.built_s = worker.call("build")
            print(f"{name}: built in {worker.built_s:.1f} s", flush=True)
            workers[name] = worker
        except PeerFailed as error:
            print(f"{name}: skipped, {str(error).strip().splitlines()[-1]}", flush=True)
    return workers


def _chunk_ends(count: int) -> list[int]:
    """Return the ends of query chunks: small chunks first, to estimate a peer's speed."""
    ends = {0, count, *CHUNK_ENDS, *range(CHUNK_ENDS[-1], count, CHUNK_ENDS[-1])}
    return sorted(end for end in ends if end <= count)


def _serve(pipe: Any, arguments: tuple[Any, ...]) -> None:
    try:
        worker = Worker(*arguments)
        pipe.send((True, None))
    except Exception:
        pipe.send((False, traceback.format_exc()))
        return
    while True:
        try:
            name, values = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(worker, name)(*values)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
