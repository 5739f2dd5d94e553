"""Connections that several workers share."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.errors import InvalidInput
from isthmus.service.server import listen
from tests.service.serving import START_S

Served = tuple[str, subprocess.Popen[str]]

HEAD = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUERY = json.dumps({"vector": [1.0] * 8, "k": 1}).encode()


def port_of(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port


def connected(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(address)), START_S)


def takes(address: str) -> bool:
    """Return whether somebody can connect."""
    try:
        connected(address).close()
    except ConnectionError:
        return False
    return True


def exists(pid: int) -> bool:
    """Return whether there is a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ask(connection: socket.socket) -> None:
    """Search on a connection, and stay connected."""
    connection.sendall(f"{HEAD}Content-Length: {len(QUERY)}\r\n\r\n".encode() + QUERY)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def below(pid: int) -> list[int]:
    """Return the children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid:
                found.append(int(entry.name))
    return sorted(found)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that serve below one; a process between them forks them."""
    return [pid for child in below(process.pid) for pid in below(child)]


def connections_of(pid: int, port: int) -> int:
    """Return how many connections to a port a process serves."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = (line.split()[at] for at in (1, 3, 9))
        if int(local.partition(":")[2], 16) == port and state == "01":
            inodes.add(f"socket:[{inode}]")
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:
            continue
    return sum(link in inodes for link in links)


def eventually(value: Callable[[], object], expected: object) -> None:
    end = time.monotonic() + START_S
    while (found := value()) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def shares(address: str, process: subprocess.Popen[str]) -> list[int]:
    return sorted(connections_of(pid, port_of(address)) for pid in workers_of(process))


@pytest.fixture
def served(workers: Served) -> Served:
    """Two workers that both take connections."""
    address, process = workers

    def taken() -> list[int]:
        with closing(connected(address)) as one, closing(connected(address)) as other:
            ask(one)
            ask(other)
            return shares(address, process)

    eventually(taken, [1, 1])
    return address, process


def test_kept_connections_are_shared_equally(served):
    address, process = served

    def difference() -> int:
        first, second = shares(address, process)
        assert first + second >= 20
        return abs(first - second)

    with ExitStack() as stack:
        kept = [stack.enter_context(closing(connected(address))) for _ in range(40)]
        for one in kept:
            ask(one)
        # A worker that had no core for a second is given none meanwhile.
        assert difference() <= 4
        for one in kept[::2]:  # those of one worker, mostly
            one.close()
        eventually(lambda: sum(shares(address, process)), 20)
        for _ in range(20):
            ask(stack.enter_context(closing(connected(address))))
        assert difference() <= 4


def test_the_place_of_a_dead_worker_is_taken_by_another(served):
    address, process = served
    first, second = workers_of(process)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: exists(first), False)
    for _ in range(20):  # none goes to the dead
        with closing(connected(address)) as one:
            ask(one)
    eventually(lambda: len(workers_of(process)), 2)
    assert second in workers_of(process)

    def taken() -> list[int]:
        with ExitStack() as stack:
            for _ in range(10):
                ask(stack.enter_context(closing(connected(address))))
            return shares(address, process)

    eventually(lambda: max(taken()) <= 6, True)


def test_a_worker_that_hangs_is_given_no_more(served):
    address, process = served
    first, _ = workers_of(process)
    os.kill(first, signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            for _ in range(2):  # one goes to each
                stack.enter_context(closing(connected(address)))
            time.sleep(1.5)
            for _ in range(20):
                ask(stack.enter_context(closing(connected(address))))
    finally:
        os.kill(first, signal.SIGCONT)


def test_requests_that_have_begun_are_answered_before_the_workers_end(served):
    address, process = served
    with ExitStack() as stack:
        begun = [stack.enter_context(closing(connected(address))) for _ in range(8)]
        for one in begun:
            one.sendall(f"{HEAD}Content-Length: {len(QUERY)}\r\n\r\n".encode() + QUERY[:5])
        eventually(lambda: shares(address, process), [4, 4])
        time.sleep(0.2)  # until each has read the head
        process.terminate()
        eventually(lambda: takes(address), False)  # nobody new
        for one in begun:
            one.sendall(QUERY[5:])
            assert one.recv(65_536).startswith(b"HTTP/1.1 200")
        assert process.wait(START_S) in (0, -signal.SIGTERM)


def test_a_signal_to_all_processes_lets_them_drain(served):
    """As systemd sends it."""
    address, process = served
    with closing(connected(address)) as one:
        one.sendall(f"{HEAD}Content-Length: {len(QUERY)}\r\n\r\n".encode() + QUERY[:5])
        eventually(lambda: sum(shares(address, process)), 1)
        time.sleep(0.2)  # until the head is read
        for pid in (process.pid, *below(process.pid), *workers_of(process)):
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: takes(address), False)
        one.sendall(QUERY[5:])
        assert one.recv(65_536).startswith(b"HTTP/1.1 200")
        assert process.wait(START_S) in (0, -signal.SIGTERM)


def test_workers_share_what_they_import(served):
    address, process = served
    del address
    for pid in workers_of(process):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kb = {line.split(":")[0]: int(line.split()[1]) for line in rollup}
        assert kb["Shared_Dirty"] > kb["Private_Dirty"]


def test_workers_do_not_outlive_who_accepts(served):
    address, process = served
    pids = workers_of(process)
    with closing(connected(address)) as one:
        ask(one)
        process.kill()
        process.wait()
        eventually(lambda: [pid for pid in pids if exists(pid)], [])


def test_a_port_in_use_is_refused(generations):
    with closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        said = f"cannot listen at 127.0.0.1:{port}: Address already in use"
        with pytest.raises(InvalidInput, match=said):
            listen("127.0.0.1", port)
        command = [sys.executable, "-m", "isthmus", "serve", str(generations.path)]
        ended = subprocess.run(
            [*command, "--port", str(port), "--workers", "2"],
            capture_output=True, text=True, timeout=START_S,
        )  # fmt: skip
        assert (ended.returncode, said in ended.stderr) == (1, True)
