"""After a fork: what would wait for threads that the child does not have does without them.

A server that loads a space, answers, and then forks its workers leaves them a copy of its memory
and one thread. Whatever the other threads held or were to do stays as it was, for ever:

* The thread pools of OpenMP (FAISS, PyTorch, NumPy's BLAS) have no threads. The first parallel loop
  would wait for them. With one thread there is no loop to share.
* A lock that another thread held is never released. `renew_lock` replaces it.
* The threads of Lance are gone, and what they left is not safe to use or to destroy. Tables are
  read and written by another process, see `isthmus.data.lance_library`.
* Objects that are unreachable in the parent but not yet collected are in the child too. To destroy
  a model that OpenVINO compiled joins threads that the child does not have. The garbage collector
  of the child therefore leaves everything that is older than the child.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from functools import cache, cached_property
from importlib import import_module
from typing import Any, Protocol
from weakref import WeakSet

POOLED = ("faiss", "torch", "numpy")


class _HasLock(Protocol):
    _lock: Any


_owners: WeakSet[_HasLock] = WeakSet()


def renew_lock(owner: _HasLock) -> None:
    """Replace the attribute ``_lock`` of an object in every later child of this process."""
    survive_forks()
    _owners.add(owner)


def keep_alive(left: object) -> None:
    """Never destroy an object of the parent, not even when this process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))


@cache
def survive_forks() -> None:
    """Make later children of this process compute on one thread and keep what their parent left."""
    if hasattr(os, "register_at_fork"):
        import_module("threadpoolctl")  # not in the child: an import may wait for a lock
        os.register_at_fork(after_in_child=_begin_child)


def _begin_child() -> None:
    gc.freeze()
    _renew_locks()
    _use_one_thread()


def _renew_locks() -> None:
    for owner in list(_owners):
        owner._lock = threading.Lock()
    if sys.version_info < (3, 12):  # where a cached property has a lock
        for name, module in list(sys.modules.items()):
            if name.startswith("isthmus."):
                _renew_cached_properties(vars(module))


def _renew_cached_properties(names: dict[str, Any]) -> None:
    for cls in names.values():
        if isinstance(cls, type):
            for value in vars(cls).values():
                if isinstance(value, cached_property):
                    vars(value)["lock"] = threading.RLock()


def _use_one_thread() -> None:
    if not any(name in sys.modules for name in POOLED):
        return
    import_module("threadpoolctl").threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
