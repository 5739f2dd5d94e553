"""OpenVINO instead of PyTorch for the model of an encoder, with a check of the vectors.

``openvino-int8``: weights in 8 bits with a scale and an offset per row; inputs of matrix products
in 8 bits with a scale per 64 values of each token, computed as they come; all else in bf16, or in
fp32 on a processor without it.
``openvino-mixed``: the same, but only for the linear layers that change vectors little
(`layers_for_int8`). One scale for a whole batch, as in PyTorch's dynamic quantisation, changes
vectors too much (measured in docs/experiments/openvino.md). Models of images run in fp32 and bf16
only: dynamic rounding exists for linear layers, and many layers of image models are convolutions.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from isthmus.digests import digest
from isthmus.encoders.backends.compiled_encoder import CompiledModel, as_torch
from isthmus.encoders.backends.openvino_library import import_openvino
from isthmus.encoders.backends.samples import sample_contents
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import to_tensors
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.schema import IMAGE

if TYPE_CHECKING:
    import torch

    from isthmus.encoders.backends.towers import Forward, ModalityTower

PRECISION_HINTS: Final = {"openvino-fp32": "f32", "openvino-bf16": "bf16"}  # without 8 bits
TORCH: Final = "torch"
BACKENDS: Final = ("openvino-int8", "openvino-mixed", *PRECISION_HINTS, TORCH)
MIN_AGREEMENT: Final = 0.99
GROUP: Final = 64

MAX_SENSITIVITY: Final = 3e-5
"""Largest mean 1 - cosine of rounded vectors: it changes about 1 % of ten nearest neighbours."""

UINT8_LEVELS: Final = 255
INT8_MAX: Final = 127
MIN_STEP: Final = 1e-9


def run_on_openvino(encoder: Encoder, backend: str, agreement: str | None = None) -> Encoder:
    """Run the model of an encoder by OpenVINO on the CPU.

    Parameters
    ----------
    encoder : Encoder
        An encoder of text alone or of images alone that runs in PyTorch on the CPU; it is changed
        in place.
    backend : {"openvino-int8", "openvino-mixed", "openvino-bf16", "openvino-fp32", "torch"}
        Numeric types; images take ``bf16`` and ``fp32``. ``torch`` leaves the encoder in PyTorch.
    agreement : str, optional
        Smallest accepted cosine, over sample contents, between the vectors before and after; by
        default 0.99. The measured value becomes the encoder's `agreement`.

    Returns
    -------
    Encoder
        With another fingerprint, unless the backend is ``torch``.

    Raises
    ------
    InvalidInput
        If the backend is unknown, the encoder is not of this kind, or the vectors agree too little.
    MissingDependency
        If OpenVINO is not installed, or NNCF for int8 and mixed.
    """
    encoder = as_torch(encoder)
    if backend == TORCH:
        return encoder
    if backend not in BACKENDS:
        raise InvalidInput(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
    if not isinstance(encoder, TorchEncoder) or encoder.modalities not in ({"text"}, {IMAGE}):
        raise InvalidInput(
            f"{encoder.spec!r} is no encoder of text alone or of images alone that PyTorch runs; "
            "leave backend out"
        )
    (modality,) = encoder.modalities
    if modality == IMAGE and backend not in PRECISION_HINTS:
        raise InvalidInput(
            f"backend={backend} is for text; images take {' or '.join(PRECISION_HINTS)}"
        )
    required = _cosine(agreement)
    sample = sample_contents(modality)
    before = encoder.encode(sample, modality)
    description, forward = _compile(encoder.model, encoder.towers[modality], sample, backend)
    encoder.replace_forward(modality, forward, {"backend": f"{backend} {description}"})
    encoder.agreement = float((encoder.encode(sample, modality) * before).sum(1).min())
    if encoder.agreement < required:
        raise InvalidInput(
            f"with backend={backend} the vectors of {encoder.spec!r} agree with the model's to a "
            f"cosine of {encoder.agreement:.4f} only on the worst of {len(sample)} samples, and "
            f"{required} is asked for; leave backend out, or accept it with agreement="
            f"{max(0.0, encoder.agreement - 0.001):.3f}"
        )
    return encoder


def _cosine(agreement: str | None) -> float:
    try:
        cosine = MIN_AGREEMENT if agreement is None else float(agreement)
    except ValueError:
        cosine = -1.0
    if not 0 <= cosine <= 1:
        raise InvalidInput(f"agreement={agreement} cannot be used; give a cosine from 0 to 1")
    return cosine


def _compile(
    model: Any, tower: ModalityTower, sample: Sequence[Any], backend: str
) -> tuple[str, Forward]:
    """Convert and compile a model.

    Returns
    -------
    description : str
        OpenVINO's version and the rounding, for the encoder's components.
    forward : callable
        Replaces the forward function of the tower.
    """
    openvino, nncf = _import_libraries(backend)
    description = openvino.__version__.split("-")[0]
    settings: dict[str, int] = {}
    batch = to_tensors(tower.collate(tower.prepare(sample[:3])))
    layers = None
    if backend == "openvino-mixed":
        layers = layers_for_int8(
            model, tower.forward, to_tensors(tower.collate(tower.prepare(sample))), GROUP
        )
    with _silenced():
        converted = openvino.convert_model(
            _traceable(model, tower.forward, batch), example_input=tuple(batch.values())
        )
        if nncf is not None:
            converted = nncf.compress_weights(
                converted,
                mode=nncf.CompressWeightsMode.INT8_ASYM,
                ignored_scope=_scope_without(layers, converted, nncf),
            )
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
            description = f"{description}, asymmetric products, groups of {GROUP}"
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = precision_hint(backend, capabilities)
        compiled = CompiledModel(lambda: converted, precision, settings)
    if layers is not None:
        layers_digest = digest(" ".join(layers)).hex()[:8]
        description = f"{description}, {len(layers)} layers {layers_digest}"
    return description, _forward_of(compiled)


def precision_hint(backend: str, capabilities: Sequence[str]) -> str:
    """Return the type that a model computes in, apart from products in 8 bits.

    On a processor without bf16 OpenVINO emulates it, and then products with weights in 8 bits read
    memory that nothing was written to (seen with 2026.4; see docs/experiments/openvino.md). So fp32
    is taken there.

    Examples
    --------
    >>> precision_hint("openvino-int8", ["FP32", "INT8", "BF16"])
    'bf16'
    >>> precision_hint("openvino-int8", ["FP32", "INT8"])
    'f32'
    """
    if backend in PRECISION_HINTS:
        return PRECISION_HINTS[backend]
    return "bf16" if "BF16" in capabilities else "f32"


def _scope_without(layers: list[str] | None, converted: Any, nncf: Any) -> Any:
    """Return the operations that keep their precision: all but these linear layers (None: all).

    Embedding tables keep theirs in any case: looking up is no faster in 8 bits.
    """
    rounded_prefixes = tuple(f"__module.model.{name}/" for name in layers or ())
    names = [
        op.get_friendly_name()
        for op in converted.get_ops()
        if op.get_type_name() == "Gather"
        or (
            layers is not None
            and op.get_type_name() == "MatMul"
            and not op.get_friendly_name().startswith(rounded_prefixes)
        )
    ]
    return nncf.IgnoredScope(names=names, validate=False)


def _import_libraries(backend: str) -> tuple[Any, Any]:
    """Return OpenVINO, and NNCF where the backend rounds to 8 bits."""
    try:
        openvino = import_openvino()
        if backend in PRECISION_HINTS:
            return openvino, None
        import nncf
    except ImportError as error:
        raise MissingDependency(
            f"backend={backend} needs packages that are not installed; "
            "install them with: pip install 'isthmus[openvino]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    return openvino, nncf


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep tracing and compression from printing; errors are raised all the same."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _traceable(model: Any, forward: Forward, batch: Mapping[str, torch.Tensor]) -> Any:
    """Return a module of model and forward function, with the tensors of a batch as arguments.

    The model is a submodule of it, so that OpenVINO finds its weights.
    """
    from torch import nn

    class Traceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return forward(**dict(zip(batch, tensors, strict=True)))

    return Traceable()


def _forward_of(model: CompiledModel) -> Forward:
    """Return a compiled model as the forward function of a tower."""

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.from_numpy(model({name: tensor.numpy() for name, tensor in batch.items()}))

    return forward


def layers_for_int8(
    model: Any,
    forward: Forward,
    batch: Mapping[str, torch.Tensor],
    group: int,
    budget: float = MAX_SENSITIVITY,
) -> list[str]:
    """Return the linear layers that may be computed in 8 bits.

    Each linear layer is rounded alone, as OpenVINO rounds it, and its sensitivity is the mean
    1 - cosine of the vectors of sample texts before and after. Sensitivities of several layers add
    up to about that of all together. Layers are taken in the order of sensitivity per weight while
    the sum stays within the budget (as in HAWQ-V2; Dong et al., NeurIPS 2020, whose sensitivities
    are derived and not measured).

    Parameters
    ----------
    model : torch.nn.Module
        The model; unchanged afterwards.
    forward : callable
        Runs the model on a batch and returns vectors.
    batch : mapping of str to Tensor
        Sample texts.
    group : int
        Number of values of a token's input that share a scale.
    budget : float
        Largest sum of sensitivities.

    Returns
    -------
    list of str
        Names of modules, in their order; empty if every layer exceeds the budget.
    """
    import torch

    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)
    }
    with torch.inference_mode():
        exact = _unit(forward(**batch))  # (n, dim)
        sensitivities = {}
        for name, layer in layers.items():
            with rounded(layer, group):
                cosines = (_unit(forward(**batch)) * exact).sum(1)  # (n,)
                sensitivities[name] = float(1 - cosines.mean())
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    return within_budget(sensitivities, sizes, budget)


def within_budget(
    sensitivities: Mapping[str, float], sizes: Mapping[str, int], budget: float
) -> list[str]:
    """Return layers of low sensitivity for their size, whose sum stays within the budget.

    Examples
    --------
    >>> within_budget({"a": 3.0, "b": 1.0, "c": 9.0}, {"a": 6, "b": 1, "c": 3}, 4.0)
    ['a', 'b']
    """
    costs = {name: max(sensitivity, 0.0) for name, sensitivity in sensitivities.items()}
    selected, total = set(), 0.0
    for name in sorted(costs, key=lambda name: costs[name] / sizes[name]):
        if total + costs[name] <= budget:
            selected.add(name)
            total += costs[name]
    return [name for name in costs if name in selected]


@contextmanager
def rounded(layer: torch.nn.Linear, group: int) -> Iterator[None]:
    """Make a linear layer compute as if in 8 bits, until the ``with`` statement ends.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer.
    group : int
        Number of values of a token's input that share a scale.
    """
    weight = layer.weight.data
    hook = layer.register_forward_pre_hook(lambda _, inputs: (round_input(inputs[0], group),))
    layer.weight.data = round_weight(weight)
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = weight


def round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Round float weights, shape (n_out, n_in), to 256 levels from smallest to largest of a row."""
    smallest = weight.amin(dim=1, keepdim=True)  # (n_out, 1)
    step = (weight.amax(dim=1, keepdim=True) - smallest).clamp(min=MIN_STEP) / UINT8_LEVELS
    return ((weight - smallest) / step).round() * step + smallest


def round_input(values: torch.Tensor, group: int) -> torch.Tensor:
    """Round to 255 levels around zero, with a scale per group of a token's values.

    Parameters
    ----------
    values : torch.Tensor
        float32, shape (..., length).
    group : int
        Values that share a scale; all of them where the length is no multiple of it.

    Returns
    -------
    torch.Tensor
        In the shape of the values.
    """
    length = values.shape[-1]
    if length % group:
        group = length
    # (..., length) to (..., n_groups, group)
    grouped = values.reshape(*values.shape[:-1], length // group, group)
    step = grouped.abs().amax(dim=-1, keepdim=True).clamp(min=MIN_STEP) / INT8_MAX
    return ((grouped / step).round() * step).reshape(values.shape)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors.double(), dim=-1)
