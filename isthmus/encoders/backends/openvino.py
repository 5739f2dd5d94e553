"""OpenVINO in place of PyTorch for the model of an encoder, with a gate on what changes.

Int8: weights in 8 bits with a scale and an offset for each row, inputs of matrix products in 8 bits
with a scale for each 64 values of each token, worked out as they come, and all else in bf16. Mixed:
the same for those linear layers alone that turn vectors little (`mixed_precision`). One scale for a
whole batch, as PyTorch's dynamic quantisation has it, was measured and turns vectors too far
(docs/openvino.md). Models of images have fp32 and bf16 alone: what rounds as it goes is made for
linear layers, and many of theirs are convolutions.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from isthmus.digests import digest
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.schema import IMAGE, Modality

if TYPE_CHECKING:
    import torch

    from isthmus.encoders.backends.towers import Forward, ModalityTower, Tensors
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isthmus.encoders.backends.towers import Forward

if TYPE_CHECKING:
    import torch

BUDGET: Final = 3e-5
LEVELS: Final = 255
SIGNED: Final = 127
LEAST: Final = 1e-9

HINTS: Final = {"openvino-fp32": "f32", "openvino-bf16": "bf16"}  # without rounding to 8 bits
BACKENDS: Final = ("openvino-int8", "openvino-mixed", *HINTS)
AGREEMENT: Final = 0.99
GROUP: Final = 64

# Of every length that items have; the gate compares vectors on them.
SAMPLE: Final = (
    "red boots",
    "Toy Story (1995)",
    "Adventure, Animation, Children, Comedy, Fantasy",
    "sulky universal slimline storage box",
    "A child in a pink dress is climbing up a set of stairs in an entry way.",
    "Accessories - Bags - Clutches - Black - Casual",
    "5 x 7 in, 250 g/m2, pack of 24: watercolour paper, cold pressed, acid free!",
    "Grüße aus Köln, 赤い靴 と привет",
    "?",
    "the quick brown fox jumps over the lazy dog while two men in hats look on from a bench "
    "beside the river, talking about the price of paper, ink and string in the shops of the town",
    "news: central bank raises rates by a quarter point as inflation slows. " * 6,
)


def run_on_openvino(encoder: Encoder, backend: str, agreement: str | None = None) -> Encoder:
    """Let OpenVINO run the model of an encoder on the CPU.

    Parameters
    ----------
    encoder : Encoder
        An encoder of text alone or of images alone that PyTorch runs, on the CPU; it is changed
        in place.
    backend : {"openvino-int8", "openvino-mixed", "openvino-bf16", "openvino-fp32"}
        In which numbers to compute; images take the last two.
    agreement : str, optional
        The least cosine, over sample contents, between the vectors of before and after; by default
        0.99. What was measured is kept as the encoder's `agreement`.

    Returns
    -------
    Encoder
        The same, with another fingerprint.

    Raises
    ------
    InvalidInput
        If the backend is unknown, the encoder is no such, or the vectors agree too little.
    MissingDependency
        If OpenVINO, or for int8 and mixed NNCF, is not installed.
    """
    if backend not in BACKENDS:
        raise InvalidInput(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
    if not isinstance(encoder, TorchEncoder) or encoder.modalities not in ({"text"}, {IMAGE}):
        raise InvalidInput(
            f"{encoder.spec!r} is no encoder of text alone or of images alone that PyTorch runs; "
            "leave backend out"
        )
    (modality,) = encoder.modalities
    if modality == IMAGE and backend not in HINTS:
        raise InvalidInput(f"backend={backend} is for text; images take {' or '.join(HINTS)}")
    least = _share(agreement)
    sample = _sample(modality)
    before = encoder.encode(sample, modality)
    made, forward = _compile(encoder.model, encoder.towers[modality], sample, backend)
    encoder.replace_forward(modality, forward, {"backend": f"{backend} {made}"})
    encoder.agreement = float((encoder.encode(sample, modality) * before).sum(1).min())
    if encoder.agreement < least:
        raise InvalidInput(
            f"with backend={backend} the vectors of {encoder.spec!r} agree with the model's to a "
            f"cosine of {encoder.agreement:.4f} only on the worst of {len(sample)} samples, and "
            f"{least} is asked for; leave backend out, or accept it with agreement="
            f"{max(0.0, encoder.agreement - 0.001):.3f}"
        )
    return encoder


def _sample(modality: Modality) -> Sequence[Any]:
    """Give contents that the gate compares vectors on: texts, or pictures from plain to noise."""
    if modality != IMAGE:
        return SAMPLE
    rng = np.random.default_rng(0)
    grains = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (1, 2, 4, 8, 16, 64, 256)]
    sizes = [(320, 240), (240, 320)]
    return [
        Image.fromarray(grain).resize(size, Image.Resampling.BICUBIC)
        for grain in grains
        for size in sizes
    ]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep tracing and compression from printing; what matters is raised."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _share(agreement: str | None) -> float:
    try:
        least = AGREEMENT if agreement is None else float(agreement)
    except ValueError:
        least = -1.0
    if not 0 <= least <= 1:
        raise InvalidInput(f"agreement={agreement} cannot be used; give a cosine from 0 to 1")
    return least


def _compile(
    model: Any, tower: ModalityTower, sample: Sequence[Any], backend: str
) -> tuple[str, Forward]:
    """Give OpenVINO's version and how it rounds, and a function in place of the model's."""
    import torch

    openvino, nncf = _libraries(backend)
    count = torch.get_num_threads()
    made = openvino.__version__.split("-")[0]
    settings: dict[str, int | str] = {
        "INFERENCE_NUM_THREADS": count,
        "NUM_STREAMS": count,
        "INFERENCE_PRECISION_HINT": HINTS.get(backend, "bf16"),
    }
    batch = tower.collate(tower.prepare(sample[:3]))
    rounded = None
    if backend == "openvino-mixed":
        rounded = layers_for_int8(model, tower.forward, tower.collate(tower.prepare(sample)), GROUP)
    with _quietly():
        converted = openvino.convert_model(
            _traceable(model, tower.forward, batch), example_input=tuple(batch.values())
        )
        if nncf is not None:
            converted = nncf.compress_weights(
                converted,
                mode=nncf.CompressWeightsMode.INT8_ASYM,
                ignored_scope=_all_but(rounded, converted, nncf),
            )
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
            made = f"{made}, asymmetric products, groups of {GROUP}"
        compiled = openvino.Core().compile_model(converted, "CPU", settings)
    if rounded is not None:
        made = f"{made}, {len(rounded)} layers {digest(' '.join(rounded)).hex()[:8]}"
    return made, _Requests(compiled)


def _all_but(layers: list[str] | None, converted: Any, nncf: Any) -> Any:
    """Name all that has weights, but for some linear layers of the model; None stands for all.

    Tables of embeddings are left as they are in any case: looking up is no faster in 8 bits.
    """
    wanted = tuple(f"__module.model.{name}/" for name in layers or ())
    names = [
        op.get_friendly_name()
        for op in converted.get_ops()
        if op.get_type_name() == "Gather"
        or (
            layers is not None
            and op.get_type_name() == "MatMul"
            and not op.get_friendly_name().startswith(wanted)
        )
    ]
    return nncf.IgnoredScope(names=names, validate=False)


def _libraries(backend: str) -> tuple[Any, Any]:
    try:
        import openvino

        if backend in HINTS:
            return openvino, None
        import nncf
    except ImportError as error:
        raise MissingDependency(
            f"backend={backend} needs packages that are not installed; "
            "install them with: pip install 'isthmus[openvino]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    return openvino, nncf


def _traceable(model: Any, forward: Forward, batch: Tensors) -> Any:
    """Give a module of both, so that the model's weights are found; it takes what a batch has."""
    from torch import nn

    class Traceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return forward(**dict(zip(batch, tensors, strict=True)))

    return Traceable()


class _Requests:
    """A compiled model; each thread asks it through a request of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._own = threading.local()

    def __call__(self, **batch: torch.Tensor) -> torch.Tensor:
        import torch

        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer([tensor.numpy() for tensor in batch.values()])
        return torch.from_numpy(found[0].copy())


"""The most that vectors may turn, as 1 - cosine in the mean: some 1 % of ten neighbours."""


def layers_for_int8(
    model: Any,
    forward: Forward,
    batch: Mapping[str, torch.Tensor],
    group: int,
    budget: float = BUDGET,
) -> list[str]:
    """Name the linear layers that may be computed in 8 bits.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is as before afterwards.
    forward : callable
        Gives vectors of a batch, and runs the model.
    batch : mapping of str to Tensor
        Sample texts.
    group : int
        Values of a token's input that share a scale.
    budget : float
        The most that the sum of harms may be.

    Returns
    -------
    list of str
        Names of modules, in their order; none where each alone does more harm.
    """
    import torch

    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)
    }
    with torch.inference_mode():
        expected = _unit(forward(**batch))
        harms = {}
        for name, layer in layers.items():
            with rounded(layer, group):
                harms[name] = float(1 - (_unit(forward(**batch)) * expected).sum(1).mean())
    return within_budget(harms, {n: own.weight.numel() for n, own in layers.items()}, budget)


def within_budget(harms: Mapping[str, float], sizes: Mapping[str, int], budget: float) -> list[str]:
    """Choose layers of little harm for their size, until the budget is spent.

    Examples
    --------
    >>> within_budget({"a": 3.0, "b": 1.0, "c": 9.0}, {"a": 6, "b": 1, "c": 3}, 4.0)
    ['a', 'b']
    """
    chosen, spent = set(), 0.0
    for name in sorted(harms, key=lambda name: max(harms[name], 0.0) / sizes[name]):
        if spent + max(harms[name], 0.0) <= budget:
            chosen.add(name)
            spent += max(harms[name], 0.0)
    return [name for name in harms if name in chosen]


@contextmanager
def rounded(layer: torch.nn.Linear, group: int) -> Iterator[None]:
    """Let a layer compute as if in 8 bits.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer; it is as before afterwards.
    group : int
        Values of a token's input that share a scale.
    """
    own = layer.weight.data
    hook = layer.register_forward_pre_hook(lambda _, given: (round_input(given[0], group),))
    layer.weight.data = round_weight(own)
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = own


def round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Round to 256 levels between the least and the largest of each row."""
    least = weight.amin(dim=1, keepdim=True)
    step = (weight.amax(dim=1, keepdim=True) - least).clamp(min=LEAST) / LEVELS
    return ((weight - least) / step).round() * step + least


def round_input(given: torch.Tensor, group: int) -> torch.Tensor:
    """Round to 255 levels around zero, with a scale for each group of a token's values."""
    length = given.shape[-1]
    if length % group:
        group = length
    grouped = given.reshape(*given.shape[:-1], length // group, group)
    step = grouped.abs().amax(dim=-1, keepdim=True).clamp(min=LEAST) / SIGNED
    return ((grouped / step).round() * step).reshape(given.shape)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors.double(), dim=-1)
