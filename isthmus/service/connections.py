"""Connections, accepted in one process and handed to the worker that has the fewest.

Workers that accept from one socket share it badly: whoever wakes first takes all connections that
wait, and clients keep them. Sockets of their own (``SO_REUSEPORT``) share by chance, and what waits
at one is lost with its worker. So the process that started the workers accepts, and passes each
connection through the pipe of a worker (``SCM_RIGHTS``). A worker writes a byte when it is ready,
and for each connection one when it takes it and one when it closes it. One that takes none for a
while is given none. Where the process that accepts is gone, it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.reduction import DupFd
from typing import Any, Final

from uvicorn import Config, _subprocess
from uvicorn.supervisors import Multiprocess

PRELOADED: Final = "isthmus.service.preloaded"  # imported where workers are forked
READY: Final = b"r"
TAKEN: Final = b"t"
CLOSED: Final = b"c"
GIVEN: Final = b"g"  # with each connection
STUCK_S: Final = 1.0  # without taking what it was given
READ_BYTES: Final = 4_096
RETRY_S: Final = 0.02  # while no worker has room, or this process no file descriptor


class WorkerPipe:
    """The end of a worker's pipe in the process that accepts.

    Attributes
    ----------
    pipe : socket.socket
        What connections go through.
    ready : bool
        Whether the worker takes connections.
    opened : int
        How many of its connections are open.
    """

    def __init__(self) -> None:
        self.pipe, self._far = socket.socketpair()
        self.pipe.setblocking(False)
        self.ready, self.opened = False, 0
        self._untaken, self._since = 0, 0.0  # since when it has taken none

    @property
    def far(self) -> int:
        """The descriptor of the worker's end, here until the worker has it."""
        return self._far.fileno()

    @property
    def is_stuck(self) -> bool:
        """Whether the worker has taken nothing for long, though something waits for it."""
        return self._untaken > 0 and time.monotonic() - self._since > STUCK_S

    def give(self, connection: socket.socket) -> bool:
        """Pass a connection to the worker; return whether there was room.

        Raises
        ------
        OSError
            If the worker is gone.
        """
        try:
            socket.send_fds(self.pipe, [GIVEN], [connection.fileno()])
        except BlockingIOError:
            return False
        if not self._untaken:
            self._since = time.monotonic()
        self.opened, self._untaken = self.opened + 1, self._untaken + 1
        return True

    def hear(self) -> bool:
        """Read what the worker has told; return whether it is there still."""
        try:
            told = self.pipe.recv(READ_BYTES)
        except OSError:
            return False
        if READY in told:
            self._far.close()
            self.ready = True
        if TAKEN in told:
            self._untaken, self._since = self._untaken - told.count(TAKEN), time.monotonic()
        self.opened -= told.count(CLOSED)
        return bool(told)

    def close(self) -> None:
        """Close both ends that are here."""
        self.pipe.close()
        self._far.close()


class Distributor:
    """Accepts connections in a thread, and hands them to workers.

    To give it to a new process is to add a worker: there, it is a `HandedConnections`.

    Parameters
    ----------
    listening : socket.socket
        Where clients connect.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._listening.setblocking(False)
        self._workers: list[WorkerPipe] = []
        self._held: socket.socket | None = None  # accepted, and nobody has room
        self._lock = threading.Lock()  # over the workers and what is waited for
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)
        self._thread.start()

    def __reduce__(self) -> tuple[Callable[[Any], HandedConnections], tuple[Any]]:
        """Return what a new process makes of it: its end of a new pipe."""
        worker = WorkerPipe()
        with self._lock:
            self._workers.append(worker)
            self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        return _handed, (DupFd(worker.far),)

    def close(self) -> None:
        """Accept no more; connections that workers have are theirs."""
        self._wake.send(GIVEN)
        self._thread.join()
        self._listening.close()
        if self._held is not None:
            self._held.close()

    def opened(self) -> list[int]:
        """Return how many connections each worker that is ready has."""
        with self._lock:
            return [worker.opened for worker in self._workers if worker.ready]

    def _run(self) -> None:
        while True:
            held = self._held is not None
            self._accept(not held and any(worker.ready for worker in self._workers))
            for key, _ in self._selector.select(RETRY_S if held else None):
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listening:
                    self._take()
                elif not key.data.hear():
                    self._forget(key.data)
            if self._held is not None and self._hand_over(self._held):
                self._held.close()
                self._held = None

    def _take(self) -> None:
        """Accept a connection."""
        try:
            self._held, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is free
            time.sleep(RETRY_S)

    def _accept(self, wanted: bool) -> None:
        """Wait for connections, or not."""
        waits = self._listening in self._selector.get_map()
        if wanted and not waits:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif waits and not wanted:
            self._selector.unregister(self._listening)

    def _hand_over(self, connection: socket.socket) -> bool:
        """Give a connection to the worker with the fewest that has room; return whether one has.

        A worker that is stuck comes last: what it is given may wait until it is replaced.
        """
        ready = [worker for worker in self._workers if worker.ready]
        for worker in sorted(ready, key=lambda one: (one.is_stuck, one.opened)):
            try:
                if worker.give(connection):
                    return True
            except OSError:
                self._forget(worker)
        return False

    def _forget(self, worker: WorkerPipe) -> None:
        with self._lock:
            self._workers.remove(worker)
            self._selector.unregister(worker.pipe)
        worker.close()


class HandedConnections(socket.socket):
    """The end of a pipe in a worker; to an event loop, a socket that listens."""

    _untold = b""

    def listen(self, backlog: int = 0) -> None:
        """Say that the worker takes connections."""
        del backlog  # of the socket that accepts
        self._tell(READY)

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection, and the address of its client.

        Raises
        ------
        BlockingIOError
            If there is none now, or will be none.
        """
        given, descriptors, _, _ = socket.recv_fds(self, len(GIVEN), 1)
        if not given:  # who accepts is gone: nobody would ask this process any more
            os.kill(os.getpid(), signal.SIGTERM)
        if not descriptors:
            raise BlockingIOError
        self._tell(TAKEN)
        os.set_inheritable(descriptors[0], False)
        connection = HandedConnection(fileno=descriptors[0])
        connection.closed = partial(self._tell, CLOSED)
        try:
            return connection, connection.getpeername()
        except OSError as error:  # the client has left
            connection.close()
            raise ConnectionAbortedError from error

    def _tell(self, what: bytes) -> None:
        """Tell of one thing more, and of those before that there was no room for."""
        self._untold += what
        try:
            self._untold = self._untold[self.send(self._untold) :]
        except OSError:  # full, or nobody listens
            return


class HandedConnection(socket.socket):
    """A connection that says when it is closed.

    Attributes
    ----------
    closed : callable or None
        Is called then, once.
    """

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it."""
        super().close()
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()


def _handed(duplicate: Any) -> HandedConnections:
    return HandedConnections(fileno=duplicate.detach())


class Workers(Multiprocess):
    """Processes that serve the connections of one socket.

    Parameters
    ----------
    config : Config
        How they serve; with the event loop of asyncio, which calls ``accept``.
    listening : socket.socket
        Where clients connect.
    """

    def __init__(self, config: Config, listening: socket.socket) -> None:
        self._distributor = Distributor(listening)
        forked = multiprocessing.get_context("forkserver")
        forked.set_forkserver_preload([PRELOADED])
        # uvicorn has no setting for how workers start, and spawned ones share nothing.
        _subprocess.spawn = forked  # type: ignore[assignment]
        # Sockets are passed to each process when it starts, and so is this.
        super().__init__(config, [self._distributor])  # type: ignore[list-item]

    def terminate_all(self) -> None:
        """Accept no more, and let the workers end."""
        self._distributor.close()
        super().terminate_all()
