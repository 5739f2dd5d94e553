"""Load of an HTTP service from this process, and what the service uses meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

WARM_S = 5.0  # in which each worker loads what it answers from
HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def messages_of(path: str, bodies: list[bytes]) -> list[bytes]:
    """Return requests with these bodies, as they are sent."""
    head = HEAD.format(path=path)
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


class Connection:
    """A kept connection of HTTP/1.1, with as little work for a request as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, message: bytes) -> int:
        """Send a request and return the status of its answer."""
        self._writer.write(message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])


async def load(
    port: int,
    messages: list[bytes],
    connections: int,
    seconds: float,
    rate: float | None,
    statuses: Counter[int] | None = None,
    each_second: Counter[int] | None = None,
) -> tuple[list[float], int]:
    """Send requests for some seconds; return their latencies and the number of failures.

    Where counters are given, answers are counted by status, and successes by second.
    """
    latencies: list[float] = []
    failed = 0
    begun = time.perf_counter()
    end = begun + seconds

    async def one(at: int) -> None:
        nonlocal failed
        connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
        number = at
        while (now := time.perf_counter()) < end:
            due = now
            if rate is not None:  # latency counts from when the request was due
                due = begun + number / rate
                if due >= end:
                    break
                await asyncio.sleep(max(0.0, due - now))
            status = await connection.ask(messages[number % len(messages)])
            latencies.append(time.perf_counter() - due)
            failed += status != 200
            if statuses is not None:
                statuses[status] += 1
            if each_second is not None and status == 200:
                each_second[int(time.perf_counter() - begun)] += 1
            number += connections

    await asyncio.gather(*(one(at) for at in range(connections)))
    return latencies, failed


def processes_of(pid: int) -> dict[int, list[str]]:
    """Return a process and all below it, with the fields of ``stat`` from the state on."""
    fields: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            fields[int(entry.name)] = stat.rpartition(")")[2].split()
    found = [pid]
    for one in found:
        found += [other for other, of in fields.items() if int(of[1]) == one]
    return {one: fields[one] for one in found if one in fields}


def processor_s(pid: int) -> float:
    """Return the seconds of processor time that the processes of a service have used."""
    ticks = sum(int(of[11]) + int(of[12]) for of in processes_of(pid).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def closed_loop(
    service: int, port: int, messages: list[bytes], connections: int, seconds: float
) -> dict[str, Any]:
    """Return requests/s in a closed loop, and latencies at half that rate.

    ``worker_ms`` is the processor time of a request in the service, and ``client_ms`` that of the
    load: beside other jobs they say more than the rate.
    """
    asyncio.run(load(port, messages, connections, max(seconds / 4, WARM_S), None))
    used, own = processor_s(service), time.process_time()
    latencies, failed = asyncio.run(load(port, messages, connections, seconds, None))
    used, own = processor_s(service) - used, time.process_time() - own
    per_second = len(latencies) / seconds
    half, failed_at_half = asyncio.run(
        load(port, messages, connections, seconds, max(per_second / 2, 1.0))
    )
    p50, p99 = np.quantile(half, [0.5, 0.99]) * 1e3
    return {
        "requests_s": round(per_second, 1),
        "worker_ms": round(used / len(latencies) * 1e3, 3),
        "client_ms": round(own / len(latencies) * 1e3, 3),
        "closed_loop_p50_ms": round(float(np.median(latencies)) * 1e3, 2),
        "half_rate_p50_ms": round(float(p50), 2),
        "half_rate_p99_ms": round(float(p99), 2),
        "failed": failed + failed_at_half,
        "load_average": round(os.getloadavg()[0], 2),
    }


def memory_of(pid: int) -> dict[int, dict[str, int]]:
    """Return the proportional and the private memory of a process and those below it, in MB."""
    found = {}
    for one in processes_of(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        parts = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
        found[one] = {
            "proportional_mb": round(int(parts["Pss"]) / 1024),
            "private_mb": round((int(parts["Private_Clean"]) + int(parts["Private_Dirty"])) / 1024),
        }
    return found


def total_mb(pid: int) -> int:
    """Return the proportional memory of a service, in MB."""
    return sum(of["proportional_mb"] for of in memory_of(pid).values())


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
