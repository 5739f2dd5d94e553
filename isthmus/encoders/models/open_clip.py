"""Joint models of OpenCLIP, which put text and images into one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower, ModalityTower, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import (
    explain_load_errors,
    find_checkpoint,
    find_source,
    hash_settings,
    is_path,
    refuse_custom_code,
)
from isthmus.encoders.image import pixels_from_torchvision
from isthmus.encoders.models.transformers_parts import hash_tokenizer, never_asking_for_code
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

HUB: Final = "hf-hub:"


class _Names(NamedTuple):
    """A model as OpenCLIP names it.

    Attributes
    ----------
    model : str
        An architecture, or ``local-dir:`` and a folder.
    weights : str or None
        A tag of pretrained weights, or the path of a checkpoint.
    architecture : str
        The name in the encoder's components; a folder has no part in it.
    """

    model: str
    weights: str | None
    architecture: str


def load_open_clip(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load a model of OpenCLIP.

    Parameters
    ----------
    name : str
        An architecture, a colon, and a tag of pretrained weights or the path of a checkpoint;
        ``hf-hub:ORG/NAME``, a model on the hub; or a local folder that holds
        ``open_clip_config.json`` and the weights.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded.
    """
    spec = f"open_clip/{name}"
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec), never_asking_for_code():
        names = _names(name, spec)
        config = _config(names)
        refuse_custom_code(config, spec)
        model, preprocess = _load(names)
        towers: dict[Modality, ModalityTower] = {
            "text": _text_tower(model, names),
            "image": _image_tower(model, preprocess),
        }
        identity = {
            "kind": "open_clip",
            "model": names.architecture,
            "config": hash_settings(config),
        }
        return TorchEncoder(model, towers, int(config["embed_dim"]), identity, runtime)


def _names(name: str, spec: str) -> _Names:
    if is_path(name):
        return _Names(f"local-dir:{find_source(name, spec).name}", None, "folder")
    if name.startswith(HUB):
        return _Names(name, None, name.removeprefix(HUB))
    architecture, _, weights = name.partition(":")
    if is_path(weights):
        weights = str(find_checkpoint(weights, spec))
    return _Names(architecture, weights, architecture)


def _load(names: _Names) -> tuple[Any, Any]:
    import open_clip

    loaded: tuple[Any, Any] = open_clip.create_model_from_pretrained(
        names.model, pretrained=names.weights
    )
    return loaded


def _config(names: _Names) -> Any:
    import open_clip

    return open_clip.get_model_config(names.model)


def _text_tower(model: Any, names: _Names) -> TextTower:
    import open_clip

    tokenizer: Any = open_clip.get_tokenizer(names.model)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = tokenizer(list(texts)).tolist()
        return rows

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        del attention_mask  # these models are trained to read padding
        vectors: torch.Tensor = model.encode_text(input_ids)  # (n, dim)
        return vectors

    tokenize([""])
    length = int(tokenizer.context_length)
    return TextTower(
        tokenize=tokenize,
        forward=forward,
        components={"tokenizer": _hash_tokenizer(tokenizer), "max_length": str(length)},
        width=length,
    )


def _image_tower(model: Any, preprocess: Any) -> ImageTower:
    pixels = pixels_from_torchvision(preprocess, model.visual.preprocess_cfg)
    return ImageTower(pixels, pixels.normalize_before(model.encode_image), pixels.components)


def _hash_tokenizer(tokenizer: Any) -> str:
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:
        return hash_tokenizer(inner)
    merges = [list(pair) for pair in tokenizer.bpe_ranks]
    return hash_settings([tokenizer.encoder, merges])
