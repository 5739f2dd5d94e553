"""Lance, and the handles of its tables, also in a process that was forked after Lance had run.

Lance computes in threads that a forked process does not have. As of Lance 14 it starts others, but
the threads of the parent wait in a list that lies in the memory of their stacks
(``parking_lot_core``), and the new threads take these stacks. So a forked process that calls Lance
crashes or hangs at a random place, and nothing outside Lance can prevent it. There, everything that
needs Lance is done by another process, see `isthmus.data.lance_process`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from isthmus.data.lance_process import LanceProcess
from isthmus.errors import UnsupportedOperation
from isthmus.forking import keep_alive

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = Path("/proc/self/task")  # a folder for each thread of this process
_ran = False  # whether Lance ran in this process, or in the one that it was forked from
_inherited = False  # whether it had run at the fork
_process: LanceProcess | None = None
_starting = threading.Lock()


def lance_library() -> Any:
    """Return the module ``lance``, or one in another process that is used in the same way."""
    global _process, _ran
    if not _inherited:
        import lance

        _ran = True
        return lance
    with _starting:
        if _process is None or _process.has_ended:
            _process = LanceProcess()
        return _process.library


class TableHandle:
    """A version of a Lance table, used as `lance.LanceDataset`; a forked process opens it again.

    Parameters
    ----------
    open_version : callable
        Opens a version of the table with a library; None is the newest.
    version : int or None
        The version.
    """

    def __init__(self, open_version: Callable[[Any, int | None], Any], version: int | None) -> None:
        self._open_version = open_version
        self._library = lance_library()
        self._dataset = open_version(self._library, version)
        self._opened = int(self._dataset.version)
        _handles.add(self)

    @property
    def dataset(self) -> Any:
        """What Lance, or the other process, knows the table by."""
        library = lance_library()
        if library is not self._library:
            self._dataset = self._open_version(library, self._opened)
            self._library = library
        return self._dataset

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.dataset, name)


_handles: WeakSet[TableHandle] = WeakSet()


def batches_of(source: Any, **options: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a table or a scan.

    Raises
    ------
    UnsupportedOperation
        If this process was forked while it was reading.
    """
    process, batches = os.getpid(), source.to_batches(**options)
    try:
        for batch in batches:
            yield batch
            if os.getpid() != process:
                raise UnsupportedOperation(
                    "this process was forked while it was reading a table; begin to read after the "
                    "fork"
                )
    finally:
        if os.getpid() != process:
            keep_alive(batches)


def _note_state() -> None:
    """Note which version each table has now, and whether another user of Lance ran it.

    To import Lance starts no threads.
    """
    global _ran
    if not _inherited:
        for handle in list(_handles):
            handle._opened = int(handle._dataset.version)
    if not _ran and "lance" in sys.modules and TASKS.exists():
        _ran = any(_name_of(task).startswith("lance") for task in TASKS.iterdir())


def _name_of(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # it just ended
        return ""


def _forget_parent() -> None:
    global _inherited, _process, _starting
    _inherited, _starting = _ran, threading.Lock()
    if _process is not None:
        _process.forget()
        _process = None
    for handle in list(_handles):
        keep_alive(handle._dataset)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_state, after_in_child=_forget_parent)
