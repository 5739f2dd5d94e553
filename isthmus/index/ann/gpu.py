"""Indexes on GPUs, where FAISS has a form of the recipe for one; never a silent fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, Literal

import numpy as np

from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search, knn_of, rescore
from isthmus.index.ann.faiss_index import FEWEST_WANTED, VectorIndex
from isthmus.index.ann.recipes import EXACT, recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.segment import Segment
from isthmus.numerics.arrays import FloatArray, Positions

Layout = Literal["replicate", "shard"]
Devices = tuple[int, ...]
SCRATCH = 1.2  # a card has to hold an index and what searches need beside it

_exact_devices: ContextVar[Devices] = ContextVar("exact_devices", default=())


def choose_devices(name: str) -> Devices:
    """Choose the GPUs that hold indexes; empty for the CPU.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:N``, ``all`` (every GPU), or ``auto``: the first GPU that FAISS
        sees, if there is one.

    Raises
    ------
    InvalidInput
        If FAISS does not see that GPU. Nothing is replaced silently.
    """
    import faiss

    count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return ()
    wanted = tuple(range(count)) if name == "all" else (_number(name),)
    if not wanted or max(wanted) >= count:
        raise InvalidInput(
            f"device {name!r} is absent: FAISS sees {count} GPU(s); use device='auto' or 'cpu', "
            "or install faiss-gpu and a driver for the card"
        )
    return wanted


def require_gpu_form(recipe: str) -> None:
    """Refuse a recipe that FAISS has no GPU form of.

    Raises
    ------
    UnsupportedOperation
        The message names the remedy.
    """
    if not recipe_named(recipe).on_gpu:
        raise UnsupportedOperation(
            f"FAISS has no GPU form of {recipe}; plan for the GPU with: isthmus publish --device "
            "cuda --retrain, or search on the CPU with device='cpu'"
        )


class GpuIndex(VectorIndex):
    """An index that one or several GPUs hold, in half precision; scores are exact all the same.

    FAISS's GPU indexes know no filters and are not safe for threads: filtered searches compare
    the survivors one by one on the GPU, and searches take turns.

    Parameters
    ----------
    index : VectorIndex
        The same on the CPU, which is what is written to disk.
    devices : tuple of int
        The GPUs.
    layout : str
        ``replicate`` (each GPU has all, and takes a share of the queries) or ``shard`` (each has
        a share of the vectors).
    """

    def __init__(
        self, index: VectorIndex, devices: Devices, layout: Layout = "replicate", placed: Any = None
    ) -> None:
        super().__init__(index.recipe, index.vectors, placed, index.parameters)
        require_gpu_form(index.recipe.name)
        self._cpu, self._devices, self._layout = index, devices, layout
        self._turn = Lock()
        if placed is None:
            self._index = _placed(index, devices, layout)

    def trying(self, parameters: SearchParameters) -> VectorIndex:
        """Give the same index, searched with another effort."""
        return GpuIndex(self._cpu.trying(parameters), self._devices, self._layout, self._index)

    @property
    def most_visits(self) -> int:
        """The number of cells; 0 where there are none."""
        return self._cpu.most_visits

    @property
    def bytes_a_vector(self) -> float:
        """Size of the index as it is written, over n."""
        return self._cpu.bytes_a_vector

    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Find about the k best vectors for each query, with all the effort always."""
        del search_scale
        faiss: Any = import_module("faiss")
        wanted = min(max(2 * k, FEWEST_WANTED), len(self))
        given = {}
        if self.recipe.family == "ivf":
            given = {"params": faiss.SearchParametersIVF(nprobe=self.parameters.visits)}
        with self._turn:
            _, found = self._index.search(
                np.ascontiguousarray(queries, np.float32), wanted, **given
            )
        return rescore(queries, self.vectors, found, k)

    def search_allowed(
        self, queries: FloatArray, k: int, allowed: Bitmap, visits: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Compare the survivors one by one: FAISS's GPU indexes would ignore the filter."""
        del visits, search_scale
        with self._turn, exact_on(self._devices):
            return exact_search(queries, self.vectors, k, allowed)

    def write(self, path: Any) -> None:
        """Write the index as the CPU has it."""
        self._cpu.write(path)

    def fit(self, vectors: FloatArray) -> float | None:
        """Give the mean cosine of vectors with the centre of their cell."""
        return self._cpu.fit(vectors)


def placing(devices: Devices) -> Callable[[VectorIndex], VectorIndex]:
    """Give what puts an index onto GPUs, or leaves it where there are none."""
    if not devices:
        return lambda index: index
    return lambda index: GpuIndex(index, devices, layout_for(index, devices))


def place_segment(segment: Segment, devices: Devices, *, insist: bool) -> Segment:
    """Put the indexes of a segment onto GPUs.

    Parameters
    ----------
    segment : Segment
        Of a release.
    devices : tuple of int
        The GPUs; empty leaves everything where it is.
    insist : bool
        Whether to refuse a recipe that has no GPU form rather than leave it on the CPU, where
        the status shows it.

    Raises
    ------
    UnsupportedOperation
        If a recipe has no GPU form.
    """
    if not devices:
        return segment
    named_vectors = {}
    for name, segment_vectors in segment.named_vectors.items():
        index = segment_vectors.index or VectorIndex(recipe_named(EXACT), segment_vectors.vectors)
        if insist or index.recipe.on_gpu:
            index = placing(devices)(index)
        named_vectors[name] = replace(segment_vectors, index=index)
    return replace(segment, named_vectors=named_vectors)


def layout_for(index: VectorIndex, devices: Devices) -> Layout:
    """Shard an index that one card cannot hold, else replicate it."""
    import torch

    needed = index.bytes_a_vector * len(index) * SCRATCH
    free = min(torch.cuda.mem_get_info(device)[0] for device in devices)
    return "shard" if needed > free else "replicate"


@contextmanager
def exact_on(devices: Devices) -> Iterator[None]:
    """Run exact searches of this thread on the first of some GPUs, if there are any."""
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


def _placed(index: VectorIndex, devices: Devices, layout: Layout) -> Any:
    faiss: Any = import_module("faiss")
    on_cpu = index.faiss_index
    if on_cpu is None:
        on_cpu = faiss.IndexFlatIP(index.vectors.shape[1])
        on_cpu.add(np.ascontiguousarray(index.vectors))
    if len(devices) == 1:
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        return faiss.index_cpu_to_gpu(_resources(devices[0]), devices[0], on_cpu, options)
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = True, layout == "shard"
    return faiss.index_cpu_to_gpus_list(on_cpu, options, list(devices))


def _number(name: str) -> int:
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise InvalidInput(f"unknown device {name!r}; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'all'")
    return int(number or 0)
