"""After a fork: what would wait for threads that the child does not have runs on one thread.

A server that loads a space, answers, and then forks its workers leaves them the thread pools of
OpenMP (FAISS, PyTorch, NumPy's BLAS) without their threads. The first parallel loop would wait for
them for ever. With one thread there is no loop to share, so a forked process answers as any other.

Objects that are unreachable in the parent but not yet collected are in the child too. To destroy a
model that OpenVINO compiled joins threads that the child does not have, which also waits for ever.
The garbage collector of the child therefore leaves everything that is older than the child.
"""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from importlib import import_module

POOLED = ("faiss", "torch", "numpy")


@cache
def survive_forks() -> None:
    """Make later children of this process compute on one thread and keep what their parent left."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=gc.freeze)
        import_module("threadpoolctl")  # not in the child: an import may wait for a lock
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    if not any(name in sys.modules for name in POOLED):
        return
    import_module("threadpoolctl").threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
