"""Joint models of Transformers: CLIP and SigLIP for text and images, CLAP for text and audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower, ModalityTower, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.transformers_audio import audio_tower, load_feature_extractor
from isthmus.encoders.models.transformers_parts import (
    describe_config,
    describe_processor,
    hash_tokenizer,
    load_config,
    load_image_processor,
    load_model,
    resolve_max_length,
    tokenize_with,
    transform_with,
)
from isthmus.errors import UnknownEncoder
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

CLAP: Final = "clap"
IMAGE_TEXT_FAMILIES: Final = ("clip", "siglip", "siglip2")

# Families trained with every text padded to one length, and attending to the padding.
PADDED_FAMILIES: Final = frozenset({"siglip", "siglip2"})


def build_joint_encoder(
    source: ModelSource, config: Any, runtime: Runtime, max_length: str | None
) -> TorchEncoder:
    """Build an encoder of text and images."""
    from transformers import AutoModel

    model, weights = load_model(source, AutoModel)
    identity = {"kind": "transformers", **describe_config(config)}
    positions = config.text_config.max_position_embeddings
    padded = config.model_type in PADDED_FAMILIES
    text = _text_tower(source, model, max_length, positions, padded=padded)
    image = _image_tower(source, model)
    dim = _dim(config)
    return TorchEncoder(model, {"text": text, "image": image}, dim, identity, runtime, weights)


def load_clap(
    name: str,
    *,
    max_length: str | None = None,
    window: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load CLAP.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    max_length : str, optional
        Most tokens of a text; by default what the model takes.
    window : str, optional
        Seconds of a window of audio; by default what the model takes.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded, or is not a CLAP model.
    MissingDependency
        If the packages that decode audio are not installed.
    """
    spec = f"clap/{name}"
    source = find_source(name, spec)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        config = load_config(source)
        if config.model_type != CLAP:
            raise UnknownEncoder(
                f"{spec!r} is a model of type {config.model_type}, not CLAP; load it with "
                f"'transformers/{name}'"
            )
        return build_clap_encoder(source, config, runtime, max_length, window)


def build_clap_encoder(
    source: ModelSource, config: Any, runtime: Runtime, max_length: str | None, window: str | None
) -> TorchEncoder:
    """Build an encoder of text and audio."""
    from transformers import AutoModel

    extractor = load_feature_extractor(source)
    model, weights = load_model(source, AutoModel)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return _unwrap(model.get_audio_features(**batch))

    # Positions are counted from behind the padding token's.
    positions = config.text_config.max_position_embeddings - config.text_config.pad_token_id - 1
    towers: dict[Modality, ModalityTower] = {
        "text": _text_tower(source, model, max_length, positions, padded=False),
        "audio": audio_tower(extractor, forward, window, {}),
    }
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, towers, int(config.projection_dim), identity, runtime, weights)


def _text_tower(
    source: ModelSource, model: Any, max_length: str | None, positions: int, *, padded: bool
) -> TextTower:
    """Build the text tower of a joint model.

    Parameters
    ----------
    source : ModelSource
        Where its tokenizer is.
    model : transformers.PreTrainedModel
        The joint model.
    max_length : str, optional
        The option ``max_length``: most tokens of a text.
    positions : int
        Number of tokens that the model has positions for.
    padded : bool
        Whether every text is padded to one length, and the padding attended to.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    length = resolve_max_length(max_length or str(positions), tokenizer, positions)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = {} if padded else {"attention_mask": attention_mask}
        return _unwrap(model.get_text_features(input_ids=input_ids, **mask))

    return TextTower(
        tokenize=tokenize_with(tokenizer, length),
        forward=forward,
        components={
            "tokenizer": hash_tokenizer(tokenizer),
            "max_length": str(length),
            "padding": tokenizer.padding_side if padded else "none",
        },
        pad_id=tokenizer.pad_token_id or 0,
        width=length if padded else None,
        pad_left=padded and tokenizer.padding_side == "left",
    )


def _image_tower(source: ModelSource, model: Any) -> ImageTower:
    processor = load_image_processor(source)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return _unwrap(model.get_image_features(**batch))

    return ImageTower(transform_with(processor), forward, describe_processor(processor))


def _unwrap(features: Any) -> torch.Tensor:
    """Return the features, which Transformers 5 wraps in an output object."""
    tensor: torch.Tensor = getattr(features, "pooler_output", features)
    return tensor


def _dim(config: Any) -> int:
    text = config.text_config
    dim = getattr(config, "projection_dim", None) or getattr(text, "projection_size", None)
    return int(dim or text.hidden_size)
