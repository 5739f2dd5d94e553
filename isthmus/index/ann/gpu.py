"""Indexes on GPUs, where FAISS has a GPU form of the recipe; there is no silent fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from isthmus.errors import InvalidInput, UnsupportedOperation, command_in
from isthmus.forking import renew_lock
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import FamilyIndex, Recipe, VectorIndex
from isthmus.index.ann.exact import exact_search, knn_of, rescore
from isthmus.index.ann.faiss_index import MIN_RESULTS
from isthmus.index.ann.recipes import EXACT, recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.segment import Segment
from isthmus.numerics.arrays import FloatArray, Positions

Layout = Literal["replicate", "shard"]
Devices = tuple[int, ...]
SCRATCH_FACTOR = 1.2  # a card has to hold an index and what searches need beside it

_exact_devices: ContextVar[Devices] = ContextVar("exact_devices", default=())


def choose_devices(name: str) -> Devices:
    """Return the GPUs that hold indexes; empty for the CPU.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:N``, ``all`` (every GPU), or ``auto``: the first GPU that FAISS
        sees, if there is one.

    Raises
    ------
    InvalidInput
        If FAISS does not see that GPU. There is no silent fallback.
    """
    faiss: Any = import_module("faiss")
    count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return ()
    devices = tuple(range(count)) if name == "all" else (_device_number(name),)
    if not devices or max(devices) >= count:
        raise InvalidInput(
            f"device {name!r} is absent: FAISS sees {count} GPU(s); use device='auto' or 'cpu', "
            "or install faiss-gpu and a driver for the card"
        )
    return devices


def require_gpu_form(recipe: Recipe) -> None:
    """Raise `UnsupportedOperation` for a recipe that FAISS has no GPU form of.

    Raises
    ------
    UnsupportedOperation
        The message names the remedy.
    """
    if not recipe.has_gpu_form:
        raise UnsupportedOperation(
            f"FAISS has no GPU form of {recipe.name}; plan for the GPU with: "
            f"{command_in(None, 'publish --device cuda --retrain')}, or search on the CPU with "
            "device='cpu'"
        )


class GpuIndex(VectorIndex):
    """An index on one or several GPUs, in half precision; its scores are exact all the same.

    FAISS's GPU indexes have no filters and are not safe for threads. A filtered search therefore
    compares every vector of the bitmap on the GPU, and searches take turns.

    Parameters
    ----------
    index : FamilyIndex
        The same index in main memory, which is what is written to disk.
    devices : tuple of int
        The GPUs.
    layout : str
        ``replicate`` (each GPU holds everything and takes a part of the queries) or ``shard``
        (each holds a part of the vectors).
    placed : faiss.Index, optional
        The index on the GPUs, if it is there already.

    Raises
    ------
    UnsupportedOperation
        If the recipe has no GPU form.
    """

    placement = "gpu"

    def __init__(
        self, index: FamilyIndex, devices: Devices, layout: Layout = "replicate", placed: Any = None
    ) -> None:
        super().__init__(index.recipe, index.vectors, index.parameters)
        require_gpu_form(index.recipe)
        self._cpu, self._devices, self._layout = index, devices, layout
        self._lock = Lock()
        renew_lock(self)
        self._index = _copy_to_gpus(index, devices, layout) if placed is None else placed

    def with_parameters(self, parameters: SearchParameters) -> VectorIndex:
        """Return the same index, searched with other parameters."""
        index = self._cpu.with_parameters(parameters)
        return GpuIndex(index, self._devices, self._layout, self._index)

    @property
    def in_memory(self) -> FamilyIndex:
        """The same index in main memory."""
        return self._cpu

    @property
    def max_width(self) -> int:
        """The greatest useful search width; 0 for none."""
        return self._cpu.max_width

    @property
    def bytes_per_vector(self) -> float:
        """Size of the index as it is written, over n."""
        return self._cpu.bytes_per_vector

    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best of each query, (n_queries, k); `search_scale` has no effect."""
        del search_scale
        n_results = min(max(2 * k, MIN_RESULTS), len(self))  # half precision swaps close ones
        with self._lock:
            _, candidates = self._index.search(
                np.ascontiguousarray(queries, np.float32), n_results, **self._cpu.gpu_arguments
            )
        return rescore(queries, self.vectors, candidates, k)

    def search_filtered(
        self,
        queries: FloatArray,
        k: int,
        bitmap: Bitmap,
        n_candidates: int,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Search the bitmap exactly, (n_queries, k): GPU indexes of FAISS ignore filters."""
        del n_candidates, search_scale
        with self._lock, exact_on(self._devices):
            return exact_search(queries, self.vectors, k, bitmap)

    def write(self, path: Path) -> None:
        """Write the index of main memory."""
        self._cpu.write(path)

    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return the mean cosine of vectors with what training has for them."""
        return self._cpu.training_fit(vectors)


def placing(devices: Devices) -> Callable[[FamilyIndex], VectorIndex]:
    """Return the function that copies an index to GPUs; for no devices, the identity."""
    if not devices:
        return lambda index: index
    return lambda index: GpuIndex(index, devices, layout_for(index, devices))


def place_segment(segment: Segment, devices: Devices, *, required: bool) -> Segment:
    """Return a segment with its indexes on GPUs.

    Parameters
    ----------
    segment : Segment
        Of a release.
    devices : tuple of int
        The GPUs; empty leaves everything where it is.
    required : bool
        Whether a recipe without a GPU form is refused. Otherwise it stays on the CPU, which the
        status shows.

    Raises
    ------
    UnsupportedOperation
        If a recipe has no GPU form.
    """
    if not devices:
        return segment
    named_vectors = {}
    for name, segment_vectors in segment.named_vectors.items():
        index = segment_vectors.index or recipe_named(EXACT).build(segment_vectors.vectors)
        if required or index.recipe.has_gpu_form:
            index = placing(devices)(index.in_memory)
        named_vectors[name] = replace(segment_vectors, index=index)
    return replace(segment, named_vectors=named_vectors)


def layout_for(index: VectorIndex, devices: Devices) -> Layout:
    """Return ``shard`` for an index that one card cannot hold, else ``replicate``."""
    torch: Any = import_module("torch")
    needed = index.bytes_per_vector * len(index) * SCRATCH_FACTOR
    free = min(torch.cuda.mem_get_info(device)[0] for device in devices)
    return "shard" if needed > free else "replicate"


@contextmanager
def exact_on(devices: Devices) -> Iterator[None]:
    """Run the exact searches of this thread on the first of some GPUs, if there are any."""
    before = _exact_devices.set(devices)
    previous = knn_of.set(_knn_gpu) if devices else None
    try:
        yield
    finally:
        _exact_devices.reset(before)
        if previous is not None:
            knn_of.reset(previous)


def _knn_gpu(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    faiss: Any = import_module("faiss")
    device = _exact_devices.get()[0]
    scores, found = faiss.knn_gpu(
        _resources(device), queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT, device=device
    )
    return scores, found


@cache
def _resources(device: int) -> Any:
    del device  # one set of scratch memory for each
    faiss: Any = import_module("faiss")
    return faiss.StandardGpuResources()


def _copy_to_gpus(index: FamilyIndex, devices: Devices, layout: Layout) -> Any:
    faiss: Any = import_module("faiss")
    on_cpu = index.faiss_index_for_gpu
    if len(devices) == 1:
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        return faiss.index_cpu_to_gpu(_resources(devices[0]), devices[0], on_cpu, options)
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = True, layout == "shard"
    return faiss.index_cpu_to_gpus_list(on_cpu, options, list(devices))


def _device_number(name: str) -> int:
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise InvalidInput(f"unknown device {name!r}; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'all'")
    return int(number or 0)
