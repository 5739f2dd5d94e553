"""A process for each peer, so that memory is its own and no two thread pools meet."""

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

from common.data import Integers, Kept, read_data
from common.process import CORES, limit_threads, settled_mib, use_cores

FEW = 4
CUTS = (FEW, 10, 25, 50, 100)
SMALL = 2_000
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}  # of all threads of a process


class Worker:
    """Builds one peer and measures it; runs in a process of its own.

    Parameters
    ----------
    name : str
        The peer, see `peers.PEERS`.
    data : Path
        Folder that `write_data` filled.
    folder : Path
        Where the peer may write.
    threads, build_threads : int
        Threads, and cores, of a search and of a build.
    clock : str
        What searches and builds are timed with, see `CLOCKS`.
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
        """Return its settings, how its bytes are counted, and whether it filters."""
        peer = self.peer
        return {"settings": peer.settings, "measured": peer.measured, "filters": peer.filters}

    def build(self) -> float:
        """Build the index, and give the seconds."""
        data = read_data(self._data)
        return self._building(lambda: self.peer.build(data.base, data.attributes))

    def grids(self, rows: int) -> list[list[Any]]:
        """Return the settings to try, cheapest first."""
        return self.peer.grids(rows)

    def tune(self, parameters: Any) -> float:
        """Take a setting, and give the seconds (some peers build anew)."""
        return self._building(lambda: self.peer.tune(parameters))

    def choose(self, queries: Integers) -> None:
        """Measure with some of the queries from here on."""
        self._queries = np.load(self._data / "queries.npy")[queries]

    def answers(self, k: int, limit_s: float, kept: Kept | None = None) -> Integers:
        """Answer the queries, as many as the time allows; the timings take no more than those."""
        found, taken, start = [], 0.0, time.perf_counter()
        for first, last in pairwise(_cuts(len(self._queries))):
            if found and taken * last / first > limit_s:
                break
            piece = self._queries[first:last]
            found.append(self.peer.rows(self._search(piece, k, kept), len(piece), k))
            taken = time.perf_counter() - start
            self._count, self._rate = last, last / taken
        return np.concatenate(found)

    def batch(self, k: int, limit_s: float, kept: Kept | None = None) -> float:
        """Return queries a second of one batch, of a size that the time allows."""
        count = int(min(self._count, max(FEW, limit_s * self._rate)))
        queries = self._queries[:count]
        return count / self._seconds(lambda: self._search(queries, k, kept))

    def singles(self, k: int, limit_s: float, kept: Kept | None = None) -> list[float]:
        """Return the seconds of single queries, one after another, while the time lasts."""
        self._search_one(self._queries[0], k, kept)
        seconds, start = [], time.perf_counter()
        for query in self._queries[: self._count]:
            seconds.append(self._seconds(partial(self._search_one, query, k, kept)))
            if time.perf_counter() - start > limit_s:
                break
        return seconds

    def memory(self, rows: int) -> dict[str, float]:
        """Return bytes a vector: the peer's own count, and the growth of resident memory."""
        grown = (settled_mib() - self._before) * 2**20
        return {"bytes": self.peer.bytes() / rows, "rss": grown / rows}

    def ask(self, name: str, *given: Any) -> Any:
        """Call a method that only this peer has."""
        return getattr(self.peer, name)(*given)

    def _load_libraries(self, small: Peer) -> None:
        """Build a small index, so that what a library needs once counts as no index's memory."""
        (self.folder / "small").mkdir()
        data = read_data(self._data)
        few = {name: np.arange(SMALL) for name in data.attributes}
        small.use_threads(self._build_threads)
        small.build(np.array(data.base[:SMALL]), few)
        small.tune(small.grids(SMALL)[0][0])
        small.search(self._queries[:2], 2)

    def _building(self, work: Callable[[], None]) -> float:
        use_cores(self._build_threads)
        self.peer.use_threads(self._build_threads)
        seconds = self._seconds(work)
        self.peer.use_threads(self._threads)
        use_cores(self._threads)
        return seconds

    def _search(self, queries: Any, k: int, kept: Kept | None) -> Any:
        if kept is None:
            return self.peer.search(queries, k)
        return self.peer.search_filtered(queries, k, kept)

    def _search_one(self, query: Any, k: int, kept: Kept | None) -> Any:
        if kept is None:
            return self.peer.search_one(query, k)
        return self.peer.search_one_filtered(query, k, kept)

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

    def __init__(self, *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, given), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    def call(self, name: str, *given: Any) -> Any:
        """Call a method of the worker, and wait for what it returns."""
        self._pipe.send((name, given))
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.terminate()

    def _receive(self) -> Any:
        try:
            good, value = self._pipe.recv()
        except EOFError as error:
            raise PeerFailed("its process died") from error
        if not good:
            raise PeerFailed(value)
        return value


class PeerFailed(Exception):
    """A peer is missing or broke."""


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


def _cuts(count: int) -> list[int]:
    """Divide so many queries into pieces: small ones first, to see how slow a peer is."""
    cuts = {0, count, *CUTS, *range(CUTS[-1], count, CUTS[-1])}
    return sorted(cut for cut in cuts if cut <= count)


def _serve(pipe: Any, given: tuple[Any, ...]) -> None:
    try:
        worker = Worker(*given)
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
