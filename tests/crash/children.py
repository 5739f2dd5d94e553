"""Processes of their own that do one thing, and may be killed at a system call."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.encoders import decoding
from isthmus.encoders.image import open_image

SOURCE = Path(__file__).with_name("system_calls.c")
LONGEST_S = 300.0


class Outcome(NamedTuple):
    """What became of a process: a value, an error (its traceback), or neither if it was killed."""

    value: Any = None
    error: str = ""
    killed: bool = False


def build(folder: Path) -> Path | None:
    """Compile the library into a folder; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "system_calls.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


class Watch:
    """The library that counts the system calls of this process, for good.

    Parameters
    ----------
    library : Path
        What `build` made.
    folder : Path
        Calls that change something below it count.
    stop_at : int
        The call at which the process is killed; 0 for none.
    record : Path, optional
        Folder that the calls are recorded into.
    """

    def __init__(
        self, library: Path, folder: Path, stop_at: int = 0, record: Path | None = None
    ) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.counted.restype = ctypes.c_long
        self._library.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_char_p]
        written = b"" if record is None else str(record).encode()
        if self._library.arm(str(folder.resolve()).encode(), stop_at, written):
            raise OSError("this system has no seccomp filters")

    def counted(self) -> int:
        """Return the number of calls so far."""
        return int(self._library.counted())


def decode_here() -> None:
    """Decode pictures in this process and its children.

    A program that they start would have the filter of `Watch` and not its handler.
    """
    decoding.decode_apart = lambda modality, data: open_image(data)


def in_child_with_imports(act: Callable[[], Any]) -> Outcome:
    """Run a function in a process of its own, and import here what it imported there.

    So no later child imports it again; for torch that takes seconds. This process must not run
    Lance, whose threads a fork does not copy.
    """
    before = set(sys.modules)

    def act_and_list() -> tuple[Any, list[str]]:
        return act(), [name for name in sys.modules if name not in before]

    outcome = in_child(act_and_list)
    if outcome.killed or outcome.error:
        return outcome
    value, modules = outcome.value
    for name in modules:
        with contextlib.suppress(Exception):  # some exist only under conditions
            importlib.import_module(name)
    return Outcome(value)


def in_child(act: Callable[[], Any]) -> Outcome:
    """Run a function in a process of its own, and wait for it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        try:
            content = pickle.dumps((act(),))
        except BaseException:
            content = pickle.dumps((None, traceback.format_exc()))
        with os.fdopen(writing, "wb") as file:
            file.write(content)
        os._exit(0)
    os.close(writing)
    return _wait(child, reading)


def _wait(child: int, reading: int) -> Outcome:
    end = time.monotonic() + LONGEST_S
    content = b""
    with os.fdopen(reading, "rb", buffering=0) as file:
        while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
            part = file.read(1 << 16)
            if not part:
                break
            content += part
        else:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome(error=f"still running after {LONGEST_S:g} s")
    status = os.waitpid(child, 0)[1]
    if content:
        return Outcome(*pickle.loads(content))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Outcome(killed=True)
    return Outcome(error=f"the process ended with wait status {status}")
