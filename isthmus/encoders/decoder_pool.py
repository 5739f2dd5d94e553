"""Decoding in processes of their own, kept for the next file and replaced when they die.

Decoders are C code that reads untrusted input. A file that crashes one, or takes it more time
or memory than any honest file, costs that process and is reported as invalid.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from isthmus.encoders.audio import Waveform
from isthmus.encoders.decoder_process import DecodingLimits
from isthmus.errors import InvalidAudio, InvalidImage, InvalidMedia, MissingDependency
from isthmus.numerics.processes import cores
from isthmus.schema import Modality

MAX_PROCESSES = 4
CHANNELS = 3
KEPT_BYTES = 96 * 2**20  # of a shared file between two requests
_CAN_SEAL = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")  # on Linux
Buffer = bytes | mmap.mmap
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Memory of one image is kept for the next, which saves a tenth of the time.
    "PILLOW_BLOCK_SIZE": "4m",
    "PILLOW_BLOCKS_MAX": "8",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_ERRORS: dict[Modality, type[InvalidMedia]] = {"image": InvalidImage, "audio": InvalidAudio}
_START = (
    "import sys; sys.path[:] = {path!r}; "
    "from isthmus.encoders.decoder_process import DecodingLimits, main; main({shared}, {limits})"
)


class DecoderPool:
    """Processes that decode, started when they are needed.

    Parameters
    ----------
    processes : int
        Most processes at a time.
    limits : DecodingLimits
        For each file.
    """

    def __init__(self, processes: int, limits: DecodingLimits | None = None) -> None:
        self._limits = limits or DecodingLimits()
        self._slots = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_DecoderProcess] = []

    def decode(self, modality: Modality, data: bytes) -> Any:
        """Decode a file; called from several threads at once.

        Returns
        -------
        PIL.Image.Image or Waveform

        Raises
        ------
        InvalidMedia
            If the file cannot be decoded within the limits.
        MissingDependency
            If the library for its format is not installed.
        """
        with self._slots:
            process = self._take()
            try:
                answer = process.answer({"modality": modality, "bytes": len(data)}, data)
                if "error" in answer:
                    raise _error_of(modality, answer, self._limits)
                with process.written(answer["bytes"]) as written:
                    content = _content_of(modality, answer, written)
            except _ProcessEnded as error:
                raise _ERRORS[modality](f"the {modality} {error}") from error
            finally:
                self._put_back(process)
            return content

    def close(self) -> None:
        """End all idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """Forget the processes without ending them: they belong to the parent of a fork."""
        for process in self._idle:
            process.close_files()
        self._idle = []

    def _take(self) -> _DecoderProcess:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.lives:
                    return process
                process.end()
        return _DecoderProcess(self._limits)

    def _put_back(self, process: _DecoderProcess) -> None:
        # It died, or an interrupt came before its answer, or a file stays large.
        if not process.is_ready or process.is_large:
            process.end()
            return
        with self._lock:
            self._idle.append(process)


class _ProcessEnded(Exception):
    """A process ended, or was ended, over a file; the message says why."""


class _DecoderProcess:
    def __init__(self, limits: DecodingLimits) -> None:
        self._limits = limits
        self._shared = _anonymous_file()
        start = _START.format(path=sys.path, shared=self._shared, limits=limits)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._shared],
            env=os.environ | _ENVIRONMENT,
        )
        self.is_ready = True

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def answer(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Return the answer to a request, or raise `_ProcessEnded`."""
        self.is_ready = False
        view, at = memoryview(data), 0
        while at < len(view):
            at += os.pwrite(self._shared, view[at:], at)
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps(request).encode() + b"\n")
                stdin.flush()
        except OSError as error:
            raise _ProcessEnded(self._cause()) from error
        answer: dict[str, Any] = json.loads(self._line())
        self.is_ready = True
        return answer

    @contextmanager
    def written(self, size: int) -> Iterator[Buffer]:
        """Yield the beginning of the shared file, which must be copied."""
        if size > os.fstat(self._shared).st_size:
            raise _ProcessEnded("was decoded to less than it was said to be")
        if not size or not _CAN_SEAL:  # a file that may shrink must not be mapped
            yield os.pread(self._shared, size, 0)
            return
        with mmap.mmap(self._shared, size, access=mmap.ACCESS_READ) as mapped:
            yield mapped

    @property
    def is_large(self) -> bool:
        """Whether the shared file takes too much memory to be kept."""
        return os.fstat(self._shared).st_size > KEPT_BYTES

    def end(self) -> None:
        """Kill the process and close what it used."""
        self._process.kill()
        self._process.wait()
        self.close_files()

    def close_files(self) -> None:
        for file in (self._process.stdin, self._process.stdout):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        os.close(self._shared)

    def _line(self) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise _ProcessEnded(self._cause())
        line, deadline = b"", time.monotonic() + self._limits.wall_seconds
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise _ProcessEnded(f"took more than {self._limits.wall_seconds:g} s to decode")
            part = os.read(stdout.fileno(), 65_536)
            if not part:
                raise _ProcessEnded(self._cause())
            line += part
        return line

    def _cause(self) -> str:
        """Return in words how the process ended."""
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return f"takes more than {self._limits.cpu_seconds:g} s of processor time to decode"
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"ended the process that decoded it ({how})"


def _content_of(modality: Modality, answer: dict[str, Any], data: Buffer) -> Any:
    with memoryview(data) as view:
        if modality == "audio":
            return Waveform(np.frombuffer(bytes(view), np.float32), int(answer["rate"]))
        width, height = map(int, answer["size"])
        # Behind the header; Pillow takes any buffer, and copies this one.
        with view[len(view) - width * height * CHANNELS :] as pixels:
            buffer: Any = pixels
            return Image.frombuffer("RGB", (width, height), buffer, "raw", "RGB", 0, 1)


def _error_of(modality: Modality, answer: dict[str, Any], limits: DecodingLimits) -> Exception:
    if answer["error"] == "MissingDependency":
        return MissingDependency(answer["message"])
    if answer["error"] == "MemoryError":
        gib = limits.memory_bytes / 2**30
        return _ERRORS[modality](f"the {modality} takes more than {gib:g} GiB to decode")
    return _ERRORS[modality](answer["message"])


def _anonymous_file() -> int:
    if _CAN_SEAL:
        shared = os.memfd_create("isthmus-decoder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return shared
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_pool = DecoderPool(min(cores(), MAX_PROCESSES))
atexit.register(_pool.close)


def _start_anew() -> None:
    global _pool
    _pool.forget()
    _pool = DecoderPool(min(cores(), MAX_PROCESSES))


os.register_at_fork(after_in_child=_start_anew)


def decode_apart(modality: Modality, data: bytes) -> Any:
    """Decode a file in another process, see `DecoderPool.decode`."""
    return _pool.decode(modality, data)
