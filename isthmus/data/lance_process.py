"""Lance in another process, for a process that cannot use it itself.

`LanceProcess.library` stands for the module ``lance`` there: attributes, calls and iterations go
through a pipe. Arrow data and plain values are copied; other objects stay there, and this process
has a `Remote` of each.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from importlib import import_module
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_executable
from pathlib import PurePath
from types import NoneType
from typing import Any, Final, NamedTuple

import pyarrow as pa

from isthmus.errors import UnsupportedOperation

LIBRARY: Final = 0  # the number of the module
_START = (
    "import sys; sys.path[:] = {path!r}; "
    "from isthmus.data.lance_process import serve; serve({socket})"
)
_OTHER: Final = "the process that reads and writes tables for this forked process"
_COPIED: Final = (
    *(NoneType, bool, int, float, str, bytes, date, timedelta, PurePath),
    *(pa.Table, pa.RecordBatch, pa.Schema, pa.Field, pa.DataType),
    *(pa.Array, pa.ChunkedArray, pa.Scalar),
)


class _Number(NamedTuple):
    """Stands for an object of the other process in what is sent."""

    number: int


class _Method(NamedTuple):
    """Says that an attribute is to be called."""


class _Request(NamedTuple):
    """What to do with an object: ``get``, ``call``, ``next``, ``iter`` or ``len``.

    Attributes
    ----------
    name : str
        Of the attribute or method; empty to call the object.
    released : list of int
        Numbers of objects that this process does not need any more.
    """

    action: str
    number: int
    name: str
    args: Any
    kwargs: Any
    released: list[int]


class LanceProcess:
    """A process that runs Lance; it ends with this one.

    Attributes
    ----------
    library : Remote
        The module ``lance``.
    has_ended : bool
        Whether the process was ended, or ended.
    """

    def __init__(self) -> None:
        executable = get_executable()
        if not executable:
            raise _unsupported("cannot be started without the path of Python")
        ours, theirs = socket.socketpair()
        with theirs:
            start = _START.format(path=sys.path, socket=theirs.fileno())
            self._process = subprocess.Popen(
                [os.fsdecode(executable), "-I", "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()
        self._released: list[int] = []
        self.has_ended = False
        self.library = Remote(self, LIBRARY)

    def ask(
        self,
        action: str,
        number: int,
        name: str = "",
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = {},
    ) -> Any:
        """Return the answer to a request, or raise the error that it ended with."""
        with self._lock:
            released, self._released = self._released, []
            request = _Request(action, number, name, _sent(args), _sent(dict(kwargs)), released)
            try:
                message = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                self._released += released
                raise _unsupported("cannot be given a function or a stream") from error
            succeeded, answer = self._exchange(message)
        if not succeeded:
            raise answer
        return self._received(answer)

    def release(self, number: int) -> None:
        """Let the process forget an object, with the next request."""
        self._released.append(number)

    def forget(self) -> None:
        """Close the connection, which belongs to the parent of a fork, and not end the process."""
        self.has_ended = True
        self._connection.close()
        self._process.returncode = 0  # it is no child of this process

    def _exchange(self, message: bytes) -> Any:
        if self.has_ended:
            raise UnsupportedOperation(f"{_OTHER} ended; try again")
        try:
            self._connection.send_bytes(message)
            return pickle.loads(self._connection.recv_bytes())
        except BaseException as error:  # an interrupt too: the answer would be taken for the next
            self.has_ended = True
            self._connection.close()
            self._process.kill()
            code = self._process.wait()
            if isinstance(error, EOFError | OSError):
                cause = f"{_OTHER} ended with exit status {code}; try again"
                raise UnsupportedOperation(cause) from error
            raise

    def _received(self, value: Any) -> Any:
        if isinstance(value, _Number):
            return Remote(self, value.number)
        if type(value) in (list, tuple):
            return type(value)(map(self._received, value))
        if type(value) is dict:
            return {key: self._received(item) for key, item in value.items()}
        return value


class Remote:
    """An object of another process; attributes, calls and iteration are those of the object."""

    def __init__(self, process: LanceProcess, number: int) -> None:
        self._process, self._number = process, number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._process.ask("get", self._number, name)
        if not isinstance(value, _Method):
            return value
        return lambda *args, **kwargs: self._process.ask("call", self._number, name, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object."""
        return self._process.ask("call", self._number, "", args, kwargs)

    def __iter__(self) -> Iterator[Any]:
        return self._process.ask("iter", self._number)  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._process.ask("next", self._number)

    def __len__(self) -> int:
        return int(self._process.ask("len", self._number))

    def __del__(self) -> None:
        self._process.release(self._number)


def serve(descriptor: int) -> None:
    """Answer the requests of the process that started this one, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal, to both
    server = _Server(import_module("lance"))
    with contextlib.suppress(EOFError, OSError), Connection(descriptor) as connection:
        while True:
            connection.send_bytes(server.answer(connection.recv_bytes()))


class _Server:
    def __init__(self, library: Any) -> None:
        self._objects = {LIBRARY: library}
        self._numbers = count(LIBRARY + 1)

    def answer(self, message: bytes) -> bytes:
        try:
            request: _Request = pickle.loads(message)
            for number in request.released:
                self._objects.pop(number, None)
            result = True, self._by_number(self._do(request))
            return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        except BaseException as error:  # a panic of Lance is no `Exception`
            return pickle.dumps((False, _plain(error)), pickle.HIGHEST_PROTOCOL)

    def _do(self, request: _Request) -> Any:
        target = self._objects[request.number]
        if request.action == "get":
            value = getattr(target, request.name)
            return _Method() if callable(value) and not isinstance(value, type) else value
        if request.action == "call":
            called = getattr(target, request.name) if request.name else target
            return called(*self._known(request.args), **self._known(request.kwargs))
        actions: dict[str, Callable[[Any], Any]] = {"iter": iter, "next": next, "len": len}
        return actions[request.action](target)

    def _by_number(self, value: Any) -> Any:
        """Return what is sent of a value: a copy, or the number of an object that stays."""
        if isinstance(value, (*_COPIED, _Method)):
            return value
        if type(value) in (list, tuple):
            return type(value)(map(self._by_number, value))
        if type(value) is dict:
            return {key: self._by_number(item) for key, item in value.items()}
        number = next(self._numbers)
        self._objects[number] = value
        return _Number(number)

    def _known(self, value: Any) -> Any:
        if isinstance(value, _Number):
            return self._objects[value.number]
        if type(value) in (list, tuple):
            return type(value)(map(self._known, value))
        if type(value) is dict:
            return {key: self._known(item) for key, item in value.items()}
        return value


def _sent(value: Any) -> Any:
    """Return a value with numbers in the place of remote objects."""
    if isinstance(value, Remote):
        return _Number(value._number)
    if type(value) in (list, tuple):
        return type(value)(map(_sent, value))
    if type(value) is dict:
        return {key: _sent(item) for key, item in value.items()}
    return value


def _plain(error: BaseException) -> BaseException:
    """Return an error as one that can be sent."""
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(error))
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _unsupported(cause: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        "this process was forked after its parent had used a space, so that another process has to "
        f"read and write its tables, which {cause}; do this in a process that was started by the "
        "start method spawn or forkserver of multiprocessing, or in the parent"
    )
