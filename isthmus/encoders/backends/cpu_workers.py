"""Threads for a CPU: each runs batches of its own on one core.

PyTorch would split every operation over all cores and wait for the slowest at each. On a core
that something else uses too, that waiting takes most of the time; whole batches side by side
wait once, at the end.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def cpu_workers() -> ThreadPoolExecutor:
    """Give the process's pool: as many threads as PyTorch uses, each of which uses itself only."""
    import torch

    count = torch.get_num_threads()
    started = threading.Barrier(count)

    def compute_alone() -> None:
        torch.get_num_threads()  # a thread takes over the process's number at its first call
        torch.set_num_threads(1)

    workers = ThreadPoolExecutor(count, "isthmus-encode", initializer=compute_alone)
    list(workers.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(count)  # for threads that start later: setting is for those as well
    return workers


os.register_at_fork(after_in_child=cpu_workers.cache_clear)
