"""Joint models of Transformers, which put text and images into one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.tower import ImageTower, TextTower
from isthmus.encoders.hf_images import describe_processor, load_image_processor, transform_with
from isthmus.encoders.hf_tokenizer import choose_max_length, hash_tokenizer, tokenize_with
from isthmus.encoders.hub import Source
from isthmus.encoders.transformers_source import describe_config, load_model
from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    import torch

FAMILIES: Final = ("clip", "siglip", "siglip2")

# Trained with every text padded to one length, and attending to the padding.
PADDED: Final = frozenset({"siglip", "siglip2"})


def build_joint_encoder(
    source: Source,
    config: Any,
    runtime: Runtime,
    pooling: str | None,
    max_length: str | None,
) -> TorchEncoder:
    """Build an encoder of text and images."""
    from transformers import AutoModel

    if pooling is not None:
        raise InvalidInput("a joint model has its own pooling; leave pooling out")
    model, weights = load_model(source, AutoModel)
    identity = {"kind": "transformers", **describe_config(config)}
    positions, padded = config.text_config.max_position_embeddings, config.model_type in PADDED
    text = text_tower(source, model, max_length, positions, padded=padded)
    image = _image_tower(source, model)
    dim = _dim(config)
    return TorchEncoder(model, {"text": text, "image": image}, dim, identity, runtime, weights)


def text_tower(
    source: Source, model: Any, max_length: str | None, positions: int, *, padded: bool
) -> TextTower:
    """Make the tower of a joint model's texts.

    Parameters
    ----------
    source : Source
        Where its tokenizer is.
    model : transformers.PreTrainedModel
        The joint model.
    max_length : str, optional
        Most tokens of a text that a user wants.
    positions : int
        How many tokens the model has positions for.
    padded : bool
        Whether every text is padded to one length, and the padding attended to.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.name, local_files_only=source.local)
    length = choose_max_length(max_length or str(positions), tokenizer, positions)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        seen = {} if padded else {"attention_mask": attention_mask}
        return features_of(model.get_text_features(input_ids=input_ids, **seen))

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


def _image_tower(source: Source, model: Any) -> ImageTower:
    processor = load_image_processor(source)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return features_of(model.get_image_features(**batch))

    return ImageTower(transform_with(processor), forward, describe_processor(processor))


def features_of(features: Any) -> torch.Tensor:
    """Give the features, which Transformers 5 wraps in an output object."""
    tensor: torch.Tensor = getattr(features, "pooler_output", features)
    return tensor


def _dim(config: Any) -> int:
    text = config.text_config
    dim = getattr(config, "projection_dim", None) or getattr(text, "projection_size", None)
    return int(dim or text.hidden_size)
