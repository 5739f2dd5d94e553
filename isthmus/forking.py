"""After a fork: what would wait for threads that the child does not have runs on one thread.

A server that loads a space, answers, and then forks its workers leaves them the thread pools of
OpenMP (FAISS, PyTorch, NumPy's BLAS) without their threads. The first parallel loop would wait for
them for ever. With one thread there is no loop to share, so a forked process answers as any other.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module

POOLED = ("faiss", "torch", "numpy")


@cache
def survive_forks() -> None:
    """Make every later child of this process compute on one thread."""
    if hasattr(os, "register_at_fork"):
        import_module("threadpoolctl")  # not in the child: an import may wait for a lock
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    if not any(name in sys.modules for name in POOLED):
        return
    import_module("threadpoolctl").threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
