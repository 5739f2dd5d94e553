"""A process that decodes files which others made: it may die, and takes nothing with it.

It reads requests from its standard input and answers on its standard output, a line of JSON each.
Files, and what becomes of them, go through a shared file.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.encoders.audio import open_audio
from isthmus.encoders.image import open_image
from isthmus.errors import InvalidMedia, MissingDependency

IDLE_SECONDS = 300.0


@dataclass(frozen=True)
class DecodingLimits:
    """What the decoding of one file may take.

    Attributes
    ----------
    cpu_seconds : float
        Processor time.
    wall_seconds : float
        Time on however busy a machine.
    memory_bytes : int
        Memory above what the process takes without a file.
    """

    cpu_seconds: float = 20.0
    wall_seconds: float = 200.0
    memory_bytes: int = 2 * 2**30


def main(shared: int, limits: DecodingLimits) -> None:
    """Answer requests until there are none for a while.

    Parameters
    ----------
    shared : int
        Descriptor of the shared file.
    limits : DecodingLimits
        For each file.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that started this one
    _limit_memory(limits.memory_bytes)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while select.select([requests], [], [], IDLE_SECONDS)[0]:
        line = requests.readline()
        if not line:
            return
        answers.write(json.dumps(_answer(json.loads(line), shared, limits)).encode() + b"\n")
        answers.flush()


def _answer(request: dict[str, Any], shared: int, limits: DecodingLimits) -> dict[str, Any]:
    # Counts processor time, within C code too. Its signal ends the process.
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    try:
        data = os.pread(shared, request["bytes"], 0)
        if request["modality"] == "audio":
            waveform = open_audio(data)
            _write(shared, waveform.samples.tobytes())
            return {"rate": waveform.rate, "bytes": waveform.samples.nbytes}
        image = open_image(data)
        # PPM is a short header and the pixels. Pillow writes them without a copy in between.
        os.lseek(shared, 0, os.SEEK_SET)
        with os.fdopen(shared, "wb", closefd=False) as file:
            image.save(file, "PPM")
        return {"size": image.size, "bytes": os.lseek(shared, 0, os.SEEK_CUR)}
    except (InvalidMedia, MissingDependency) as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "MemoryError", "message": ""}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _write(shared: int, data: bytes) -> None:
    view, at = memoryview(data), 0
    while at < len(view):
        at += os.pwrite(shared, view[at:], at)


def _limit_memory(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    statm = Path("/proc/self/statm")
    if statm.exists():  # other systems do not hold RLIMIT_AS
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
