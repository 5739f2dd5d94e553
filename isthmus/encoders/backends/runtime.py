"""Where and how exactly a model runs: device, precision, compilation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    import torch
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

Precision = Literal["fp32", "bf16", "fp16"]

A = TypeVar("A")
B = TypeVar("B")

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


class BatchLimits(NamedTuple):
    """How large a batch may be.

    Attributes
    ----------
    tokens : int
        Tokens, padding included.
    texts, images : int
        Texts, or images.
    windows : int
        Windows of audio.
    """

    tokens: int
    texts: int
    images: int
    windows: int


# Measured: on a CPU a batch is fastest while what it computes stays in the core's cache.
CPU_LIMITS = BatchLimits(tokens=1_024, texts=64, images=4, windows=2)
GPU_LIMITS = BatchLimits(tokens=16_384, texts=512, images=64, windows=32)


@dataclass(frozen=True)
class Runtime:
    """A device, the precision to compute in, and whether to compile.

    Attributes
    ----------
    device : torch.device
        Where the model lies.
    precision : {"fp32", "bf16", "fp16"}
        What matrix products are computed in; weights stay float32.
    compile : bool
        Whether the model goes through ``torch.compile``.
    """

    device: torch.device
    precision: Precision
    compile: bool

    @property
    def dtype(self) -> torch.dtype:
        """The type of numbers that this precision stands for."""
        import torch

        types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return types[self.precision]

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Run what is inside without gradients and in this precision."""
        import torch

        half = torch.float16 if self.precision == "fp16" else torch.bfloat16
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, half, enabled=self.precision != "fp32"),
        ):
            yield

    @property
    def limits(self) -> BatchLimits:
        """How large a batch may be on this device."""
        return CPU_LIMITS if self.device.type == "cpu" else GPU_LIMITS

    def spread(self, function: Callable[[A], B], batches: Sequence[A]) -> Iterator[B]:
        """Apply a function to batches, in order: on a CPU several of them at once."""
        if self.device.type == "cpu" and len(batches) > 1 and not self.compile:
            return cpu_thread_pool().map(function, batches)
        return map(function, batches)

    def finish(self, function: Any) -> Any:
        """Compile a function, if this runtime compiles."""
        import torch

        return torch.compile(function, dynamic=True) if self.compile else function


def choose_runtime(device: str = "auto", precision: str = "auto", compile: bool = False) -> Runtime:
    """Choose where a model runs.

    Parameters
    ----------
    device : str, default "auto"
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: the first GPU, if there is one.
    precision : str, default "auto"
        ``fp32``, ``bf16``, ``fp16``, or ``auto``: fp32 on a CPU; on a GPU bf16, or fp16 if it
        has no bf16.
    compile : bool, default False
        Whether to compile the model: slower to start, faster to run.

    Raises
    ------
    InvalidInput
        If the device is absent or does not compute in this precision. Nothing is replaced
        silently by something else.
    """
    chosen = _choose_device(device)
    return Runtime(chosen, _choose_precision(precision, chosen), compile)


def _choose_device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not _DEVICE.fullmatch(name):
        raise InvalidInput(f"unknown device {name!r}; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    device = torch.device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InvalidInput(
            f"device {name!r} is absent: PyTorch sees {count} CUDA device(s); "
            "use device='auto' or 'cpu', or install a CUDA build of PyTorch"
        )
    return device


def _choose_precision(name: str, device: torch.device) -> Precision:
    import torch

    on_gpu = device.type == "cuda"
    if name == "auto":
        if not on_gpu:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    known: tuple[Precision, ...] = get_args(Precision)
    for precision in known:
        if name == precision and (on_gpu or precision == "fp32"):
            return precision
    raise InvalidInput(
        f"precision {name!r} cannot be used on {device.type}; "
        f"use 'auto' or {'one of fp32, bf16, fp16' if on_gpu else 'fp32'}"
    )


@cache
def cpu_thread_pool() -> ThreadPoolExecutor:
    """Give the process's pool: as many threads as PyTorch uses, each of which uses itself only."""
    import torch

    count = torch.get_num_threads()
    started = threading.Barrier(count)

    def compute_alone() -> None:
        torch.get_num_threads()  # a thread takes over the process's number at its first call
        torch.set_num_threads(1)

    workers = ThreadPoolExecutor(count, "isthmus-encode", initializer=compute_alone)
    list(workers.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(count)  # for threads that start later: setting is for those as well
    return workers


os.register_at_fork(after_in_child=cpu_thread_pool.cache_clear)


def prefetch(values: Iterator[A]) -> Iterator[A]:
    """Give the values of an iterator, the next one already under way in a thread.

    Examples
    --------
    >>> list(prefetch(iter("abc")))
    ['a', 'b', 'c']
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Any] = thread.submit(next, values, end)
        while (value := waiting.result()) is not end:
            waiting = thread.submit(next, values, end)
            yield value


def prefetch_map(function: Callable[[A], B], pieces: Sequence[A]) -> Iterator[B]:
    """Apply a function to each piece, one piece ahead of the reader, in order.

    Examples
    --------
    >>> list(prefetch_map(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    done = map(function, pieces)
    return done if len(pieces) <= 1 else prefetch(done)  # a single query waits for no thread
