"""How a model runs: device, precision, compilation, batch limits, threads and prefetching."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, get_args

from isthmus.errors import InvalidInput, MissingDependency

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16", "bf16-weights", "fp16-weights"]

WEIGHTS: Final = "-weights"
DTYPES: Final[dict[str, Precision]] = {
    "fp32": "fp32",
    "bf16": "bf16-weights",
    "fp16": "fp16-weights",
}
"""Precision of each value of the option ``dtype``."""

A = TypeVar("A")
B = TypeVar("B")

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd", "nvhost-gpu")  # in /dev: NVIDIA, WSL, AMD, Tegra


class BatchLimits(NamedTuple):
    """The largest batch of each modality.

    Attributes
    ----------
    tokens : int
        Tokens in a batch of texts, padding included.
    texts, images : int
        Texts, or images.
    windows : int
        Windows of audio.
    """

    tokens: int
    texts: int
    images: int
    windows: int


# Measured. On a CPU a batch is fastest while its intermediate results fit into the core's cache.
CPU_LIMITS = BatchLimits(tokens=1_024, texts=64, images=4, windows=2)
GPU_LIMITS = BatchLimits(tokens=16_384, texts=512, images=64, windows=32)


@dataclass(frozen=True)
class Runtime:
    """A device, the precision to compute in, and whether to compile.

    Attributes
    ----------
    device : torch.device
        Device of the model.
    precision : {"fp32", "bf16", "fp16", "bf16-weights", "fp16-weights"}
        Precision of matrix products; weights stay float32, except in the last two.
    compile : bool
        Whether the model goes through ``torch.compile``.
    """

    device: torch.device
    precision: Precision
    compile: bool

    @property
    def dtype(self) -> torch.dtype:
        """The PyTorch type of this precision."""
        import torch

        types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return types[self.precision.removesuffix(WEIGHTS)]

    @property
    def weights_dtype(self) -> torch.dtype:
        """The PyTorch type of the weights."""
        import torch

        return self.dtype if self.precision.endswith(WEIGHTS) else torch.float32

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Run the body of the ``with`` statement without gradients and in this precision."""
        import torch

        half = torch.bfloat16 if self.precision == "fp32" else self.dtype
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, half, enabled=self.precision != "fp32"),
        ):
            yield

    @property
    def limits(self) -> BatchLimits:
        """The largest batches on this device."""
        return CPU_LIMITS if self.device.type == "cpu" else GPU_LIMITS

    def map_batches(self, function: Callable[[A], B], batches: Sequence[A]) -> Iterator[B]:
        """Apply a function to batches, in order; on a CPU, to several of them at once."""
        if self.device.type == "cpu" and len(batches) > 1 and not self.compile:
            return cpu_thread_pool().map(function, batches)
        return map(function, batches)

    def compiled(self, function: Any) -> Any:
        """Return the function, compiled if this runtime compiles."""
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
        has no bf16. ``bf16-weights`` and ``fp16-weights`` hold the weights so too, in half the
        memory, on every device.
    compile : bool, default False
        Whether to compile the model: slower to start, faster to run.

    Raises
    ------
    MissingDependency
        If PyTorch is not installed.
    InvalidInput
        If the device is absent or does not compute in this precision. Neither is ever replaced
        by another silently.
    """
    if find_spec("torch") is None:
        raise MissingDependency(
            "PyTorch, which runs this encoder, is not installed; install it with: "
            "pip install 'isthmus[models]'"
        )
    torch_device = _choose_device(device)
    return Runtime(torch_device, _choose_precision(precision, torch_device), compile)


def runs_on_cpu(device: str) -> bool:
    """Return whether models run on the CPU, if possible without importing PyTorch.

    Parameters
    ----------
    device : str
        As for `choose_runtime`.
    """
    if device != "auto":
        return device == "cpu"
    has_gpu = any(any(Path("/dev").glob(name)) for name in _GPU_FILES)
    if find_spec("torch") is None or (sys.platform == "linux" and not has_gpu):
        return True
    return _choose_device("auto").type == "cpu"


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
    precisions: tuple[Precision, ...] = get_args(Precision)
    for precision in precisions:
        if name == precision and (on_gpu or precision == "fp32" or precision.endswith(WEIGHTS)):
            return precision
    raise InvalidInput(
        f"precision {name!r} cannot be used on {device.type}; "
        f"use 'auto' or {'one of fp32, bf16, fp16' if on_gpu else 'fp32'}"
    )


@cache
def cpu_thread_pool() -> ThreadPoolExecutor:
    """Return the thread pool of the process: whole batches, each on one core.

    The pool has as many threads as PyTorch uses, and each of its threads computes on one core.
    PyTorch itself would split every operation over all cores and wait for the slowest at each; on
    a core that another program uses too, this waiting takes most of the time. Whole batches side
    by side wait once, at the end.
    """
    import torch

    count = torch.get_num_threads()
    started = threading.Barrier(count)

    def use_one_core() -> None:
        torch.get_num_threads()  # the first call of a thread overwrites its number with the global
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count, "isthmus-encode", initializer=use_one_core)
    list(pool.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(count)  # `set_num_threads(1)` applies to threads that start later too
    return pool


os.register_at_fork(after_in_child=cpu_thread_pool.cache_clear)


def prefetch(values: Iterator[A]) -> Iterator[A]:
    """Yield the values of an iterator; a thread computes the next one while one is used.

    Examples
    --------
    >>> list(prefetch(iter("abc")))
    ['a', 'b', 'c']
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        pending: Future[Any] = thread.submit(next, values, end)
        while (value := pending.result()) is not end:
            pending = thread.submit(next, values, end)
            yield value


def prefetch_map(function: Callable[[A], B], chunks: Sequence[A]) -> Iterator[B]:
    """Apply a function to chunks in order, one chunk ahead of the reader.

    Examples
    --------
    >>> list(prefetch_map(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    results = map(function, chunks)
    return results if len(chunks) <= 1 else prefetch(results)  # a single query needs no thread
