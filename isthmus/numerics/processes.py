"""A parallel map over forked processes, which share what was loaded before the fork.

The global interpreter lock serialises what lies between calls of NumPy, and ranking makes many
small calls: two threads ranked 1.3 times as many lists as one.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any, TypeVar

MAX_PENDING = 2  # parts submitted to each process, of which one is worked on

Part = TypeVar("Part")
Result = TypeVar("Result")

_work: Callable[[Any], Any] | None = None  # of this process, if it was started to do some


def forked(
    work: Callable[[Part], Result], parts: Iterable[Part], processes: int
) -> Iterator[Result]:
    """Yield the results of parts, in their order.

    Parameters
    ----------
    work : callable
        Applied to each part. It must not need a thread that ran before the fork, such as those of
        a Lance table.
    parts : iterable
        Read a few ahead, by this process.
    processes : int
        Number of processes. With one, and where forking is not safe (other systems than Linux, a
        GPU in use), this process does all the work.
    """
    if processes < 2 or not _can_fork():
        yield from map(work, parts)
        return
    pool = ProcessPoolExecutor(processes, get_context("fork"), _begin, (work,))
    try:
        pending: deque[Future[Result]] = deque()
        for part in parts:
            with warnings.catch_warnings():  # Lance's, whose tables the processes do not touch
                warnings.filterwarnings("ignore", "lance is not fork-safe")
                pending.append(pool.submit(_answer, part))
            if len(pending) > MAX_PENDING * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _can_fork() -> bool:
    torch = sys.modules.get("torch")
    return sys.platform == "linux" and (torch is None or not torch.cuda.is_initialized())


def _begin(work: Callable[[Any], Any]) -> None:
    """Set the work of this process, with one thread: the other processes use the other cores."""
    global _work
    _work = work
    import_module("threadpoolctl").threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _answer(part: Any) -> Any:
    if _work is None:
        raise RuntimeError("a process was started without its work")
    return _work(part)
