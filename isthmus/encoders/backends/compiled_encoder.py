"""Encoders whose network OpenVINO runs on the CPU, without PyTorch.

The vectors are those of the PyTorch model: at the first use on a machine they are compared with
reference vectors on sample contents, and timed. The fastest precision that agrees is used, and
PyTorch itself where none does; so one fingerprint stands for all of them.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from isthmus.encoders.backends.openvino_library import import_openvino
from isthmus.encoders.backends.runtime import CPU_LIMITS
from isthmus.encoders.backends.samples import sample_contents
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.tower_encoder import TowerEncoder
from isthmus.encoders.backends.towers import Arrays, ModalityTower, Rows
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.user_cache import remembered
from isthmus.errors import UnsupportedOperation
from isthmus.forking import keep_alive, renew_lock
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.processes import cores
from isthmus.schema import Modality

MIN_AGREEMENT: Final = 0.9999
"""Smallest cosine, over sample contents, of vectors that share a fingerprint."""

BF16: Final = "bf16"
F32: Final = "f32"
TORCH: Final = "torch"
ROUNDS: Final = 4  # of the comparison of speeds; the first one warms up
TIMED: Final = 2  # contents of its batch; the longest come first


@dataclass(frozen=True)
class Network:
    """A network that OpenVINO and PyTorch can run.

    Attributes
    ----------
    graph : callable
        Returns the OpenVINO graph: arrays of a batch, in the order of the tower's `collate`, to
        vectors, not yet of unit norm.
    release : callable
        Gives back the memory of the weights that the graph was made of; called when it is compiled.
    in_torch : callable
        Returns the encoder in PyTorch, on the CPU, in float32.
    weights : str
        Digest of the weights.
    bytes : int
        Size of the weights.
    reference : numpy.ndarray or None
        Vectors of the PyTorch model for `sample_contents`, float32, shape (n, dim); None where
        they are not known for these weights.
    """

    graph: Callable[[], Any]
    release: Callable[[], None]
    in_torch: Callable[[], TorchEncoder]
    weights: str
    bytes: int
    reference: FloatArray | None


class CompiledEncoder(TowerEncoder):
    """An encoder of one modality whose network is compiled at its first use.

    Parameters
    ----------
    network : Network
        What is compiled.
    modality : str
        The modality.
    tower : ModalityTower
        Its preparation.
    dim : int
        Length of a vector.
    identity : mapping of str to str
        Components of every modality; ``kind`` and ``model`` among them.
    exact : bool
        Whether to compute in float32 even where bf16 agrees.

    Attributes
    ----------
    bytes : int
        Size of the weights.
    """

    def __init__(
        self,
        network: Network,
        modality: Modality,
        tower: ModalityTower,
        dim: int,
        identity: Mapping[str, str],
        *,
        exact: bool = False,
    ) -> None:
        super().__init__({modality: tower}, dim, identity)
        self._components |= {"weights": network.weights, "dim": str(dim), "precision": "fp32"}
        self.limits = CPU_LIMITS
        self.bytes = network.bytes
        self._network, self._modality, self._exact = network, modality, exact
        self._runner = _Runner(self._choose)

    def in_torch(self) -> TorchEncoder:
        """Return the encoder in PyTorch: for training, or for another backend."""
        encoder = self._network.in_torch()
        encoder.spec = self.spec
        return encoder

    @property
    def agreement(self) -> float:
        """Smallest cosine between its vectors and those of PyTorch, on sample contents."""
        model = self._runner.model()
        return 1.0 if isinstance(model, TorchEncoder) else self._agreement(model)

    @property
    def numeric_type(self) -> str:
        """What it computes in: ``bf16`` or ``f32``, or ``torch`` where OpenVINO disagrees."""
        model = self._runner.model()
        return TORCH if isinstance(model, TorchEncoder) else model.precision

    def _run(
        self, modality: Modality, inputs: Sequence[Any], batches: Sequence[Rows]
    ) -> Iterator[FloatArray]:
        model = self._runner.model()
        if isinstance(model, TorchEncoder):
            return model._run(modality, inputs, batches)
        tower = self.towers[modality]

        def run(rows: Rows) -> FloatArray:
            return _unit(model(tower.collate([inputs[row] for row in rows])))

        return model.map(run, batches)

    def _choose(self) -> CompiledModel | TorchEncoder:
        """Return the fastest model whose vectors agree with the reference."""
        if self._exact:
            precision = F32 if self._agrees(self._compile(F32)) else TORCH
        else:
            key = f"{self._network.weights} {describe_machine()}"
            precision = remembered("precision", key, self._fastest)
        return self.in_torch() if precision == TORCH else self._compile(precision)

    def _fastest(self) -> str:
        """Return the fastest numeric type that agrees with the reference; ``torch`` if none does.

        Whether bf16 pays is measured, since its instructions do not tell: with AVX-512 bf16 and no
        matrix unit it takes 0.5 of the time of float32 on one maker's processors, and 1.7 times
        that time on another's (see docs/experiments/openvino.md).
        """
        models = [self._compile(precision) for precision in _precisions()]
        agreeing = [model for model in models if self._agrees(model)]
        if len(agreeing) < 2:
            return agreeing[0].precision if agreeing else TORCH
        tower = self.towers[self._modality]
        inputs = tower.prepare(sample_contents(self._modality))
        rows = next(iter(tower.batches(inputs, self.limits)))[:TIMED]
        batch = tower.collate([inputs[row] for row in rows])
        return agreeing[int(np.argmin(measure_seconds(agreeing, batch)))].precision

    def _compile(self, precision: str) -> CompiledModel:
        model = CompiledModel(self._network.graph, precision)
        self._network.release()
        return model

    def _agrees(self, model: CompiledModel) -> bool:
        return self._agreement(model) >= MIN_AGREEMENT

    def _agreement(self, model: CompiledModel) -> float:
        key = f"{self._network.weights} {model.description}"
        return float(remembered("agreement", key, lambda: repr(self._measure(model))))

    def _measure(self, model: CompiledModel) -> float:
        tower = self.towers[self._modality]
        contents = sample_contents(self._modality)
        vectors = [_unit(model(tower.collate([one]))) for one in tower.prepare(contents)]
        expected = self._network.reference
        if expected is None:
            expected = self.in_torch().encode(contents, self._modality)
        return float((np.concatenate(vectors) * expected).sum(1).min())


def as_torch(encoder: Encoder) -> Encoder:
    """Return an encoder that another backend runs in PyTorch; any other unchanged."""
    return encoder.in_torch() if isinstance(encoder, CompiledEncoder) else encoder


def not_in_torch(**batch: Any) -> Any:
    """Take the place of a tower's forward function where OpenVINO runs the model."""
    raise UnsupportedOperation(
        f"this tower has no PyTorch model to run on {', '.join(batch)}; load the encoder with "
        "backend=torch"
    )


class _Runner:
    """The model of an encoder, chosen at its first use in a process, for all its copies."""

    def __init__(self, choose: Callable[[], CompiledModel | TorchEncoder]) -> None:
        self._choose = choose
        self._lock = threading.Lock()
        self._model: CompiledModel | TorchEncoder | None = None
        renew_lock(self)

    def model(self) -> CompiledModel | TorchEncoder:
        with self._lock:
            if self._model is None:
                self._model = self._choose()
            return self._model


class CompiledModel:
    """A graph that OpenVINO compiled, with one inference request per thread.

    Threads do not survive a fork, so a forked process compiles the graph again, for one thread.

    Parameters
    ----------
    graph : callable
        Returns the graph.
    precision : str
        Numeric type that OpenVINO computes in: ``f32`` or ``bf16``.
    settings : mapping of str to Any, optional
        More settings of OpenVINO.

    Attributes
    ----------
    precision : str
        See above.
    description : str
        What results depend on besides the graph: OpenVINO's version, the processor, the precision.
    """

    def __init__(
        self,
        graph: Callable[[], Any],
        precision: str,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.precision = precision
        self._graph, self._settings = graph, dict(settings or {})
        self._lock = threading.Lock()
        renew_lock(self)
        self._pool: ThreadPoolExecutor | None = None
        self._compile(n_threads())
        self.description = f"{describe_machine()} {precision}"

    def __call__(self, batch: Arrays) -> FloatArray:
        """Run the model over the arrays of a batch; shape (n, dim), not of unit norm."""
        if self._process != os.getpid():
            self._compile_in_child()
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        outputs = self._of_thread.request.infer(list(batch.values()))
        return np.array(outputs[0], np.float32)  # the next call overwrites the output

    def map(
        self, function: Callable[[Rows], FloatArray], batches: Sequence[Rows]
    ) -> Iterator[FloatArray]:
        """Apply a function to batches, in order, several of them at once."""
        if self._process != os.getpid():
            self._compile_in_child()
        if self._n_threads == 1 or len(batches) <= 1:
            return map(function, batches)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._n_threads, "isthmus-encode")
        return self._pool.map(function, batches)

    def _compile_in_child(self) -> None:
        # To destroy what the parent compiled would join its threads, and abort the process.
        for left in (self._compiled, self._of_thread, self._pool):
            keep_alive(left)
        self._compile(1)

    def _compile(self, threads: int) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "INFERENCE_PRECISION_HINT": self.precision,
            **self._settings,
        }
        self._compiled = import_openvino().Core().compile_model(self._graph(), "CPU", settings)
        self._n_threads, self._process = threads, os.getpid()
        self._of_thread = threading.local()
        self._pool = None


def n_threads() -> int:
    """Return how many threads compute: ``OMP_NUM_THREADS``, or the cores of this process."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(stated) if stated.isdecimal() and int(stated) else cores()


def describe_machine() -> str:
    """Return what results depend on besides a graph: OpenVINO's version, and the processor."""
    openvino = import_openvino()
    core = openvino.Core()
    name = core.get_property("CPU", "FULL_DEVICE_NAME")  # under a hypervisor often of a series only
    return f"openvino {openvino.__version__} {name} {' '.join(sorted(_capabilities()))}"


def measure_seconds(models: Sequence[CompiledModel], batch: Arrays) -> list[float]:
    """Return the seconds that each model takes for a batch: the least of `ROUNDS`, in turns.

    Parameters
    ----------
    models : sequence of CompiledModel
        The models.
    batch : mapping of str to numpy.ndarray
        Arrays of the batch.
    """
    least = [math.inf] * len(models)
    for _ in range(ROUNDS):
        for n, model in enumerate(models):
            start = time.perf_counter()
            model(batch)
            least[n] = min(least[n], time.perf_counter() - start)
    return least


def _precisions() -> Sequence[str]:
    """Return the numeric types that this processor has instructions for."""
    return (BF16, F32) if "BF16" in _capabilities() else (F32,)


def _capabilities() -> Sequence[str]:
    """Return the numeric types that OpenVINO need not emulate on this processor, among others."""
    capabilities: Sequence[str] = (
        import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    )
    return capabilities


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)
