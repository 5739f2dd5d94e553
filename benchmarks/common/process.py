"""Cores, threads and memory of a process (Linux)."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from pathlib import Path

BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
POOL_THREADS = (
    "LANCE_CPU_THREADS",
    "LANCE_IO_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
)
MIN_POOL_THREADS = 2
CORES = sorted(os.sched_getaffinity(0))


def limit_threads(threads: int, build_threads: int) -> None:
    """Limit the thread pools of processes that start after this call.

    The pools of Lance and Chroma are sized once per process, so they get the threads of the build,
    and at least two, since a pool of one thread can deadlock. `use_cores` limits a search.
    """
    for name in BLAS_THREADS:
        os.environ[name] = str(threads)
    for name in POOL_THREADS:
        os.environ[name] = str(max(build_threads, MIN_POOL_THREADS))


def use_cores(count: int) -> None:
    """Pin all threads of this process, and those it starts later, to a number of cores."""
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), CORES[-count:])
        except ProcessLookupError:
            continue


def memory_mib() -> dict[str, float]:
    """Return this process's memory in MiB: VmRSS, VmHWM, RssAnon and RssFile."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = ("VmRSS", "VmHWM", "RssAnon", "RssFile")
    return {name: int(fields[name].split()[0]) / 1024 for name in names}


def settled_mib() -> float:
    """Return the resident memory in MiB after free memory is returned to the system."""
    gc.collect()
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return memory_mib()["VmRSS"]


class PeakMemory:
    """Sampler of a process's memory, in a thread; `peaks` holds the peaks in MiB."""

    def __init__(self, every_s: float = 0.02) -> None:
        self.peaks: dict[str, float] = {}
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take a last sample, and stop."""
        self._done.set()
        self._thread.join()
        self._take()

    def _sample(self) -> None:
        while not self._done.wait(self._every_s):
            self._take()

    def _take(self) -> None:
        for name, value in memory_mib().items():
            self.peaks[name] = max(self.peaks.get(name, 0.0), value)
