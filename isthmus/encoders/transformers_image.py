"""Image encoders of Transformers: last hidden states, pooled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.tower import ImageTower
from isthmus.encoders.hf_images import describe_processor, load_image_processor, transform_with
from isthmus.encoders.hub import Source
from isthmus.encoders.pooling import as_pooling
from isthmus.encoders.transformers_source import describe_config, load_model
from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    import torch


def build_image_encoder(
    source: Source,
    config: Any,
    runtime: Runtime,
    pooling: str | None,
    max_length: str | None,
) -> TorchEncoder:
    """Build an encoder of images."""
    from transformers import AutoModel

    if max_length is not None:
        raise InvalidInput("max_length is for texts, and this model encodes images")
    processor = load_image_processor(source)
    transform = transform_with(processor)
    model, weights = load_model(source, AutoModel)
    special, dim = _probe(model.eval(), transform)
    chosen = as_pooling(pooling or ("cls" if special else "mean"), ("cls", "mean"))
    if chosen == "cls" and not special:
        raise InvalidInput(
            f"a model of type {config.model_type} has no cls token; use pooling=mean"
        )

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = model(**batch).last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        return hidden[:, 0] if chosen == "cls" else hidden[:, special:].mean(1)

    tower = ImageTower(transform, forward, {"pooling": chosen, **describe_processor(processor)})
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, {"image": tower}, dim, identity, runtime, weights)


def _probe(model: Any, transform: Callable[[Any], dict[str, Any]]) -> tuple[int, int]:
    """Give how many tokens stand before those of the patches, and the length of a vector."""
    import torch
    from PIL import Image

    blank = transform(Image.new("RGB", (64, 64)))
    with torch.inference_mode():
        hidden = model(**{n: torch.from_numpy(a)[None] for n, a in blank.items()}).last_hidden_state
    if hidden.ndim == 4:  # a map of features, (n, channels, height, width)
        return 0, hidden.shape[1]
    patch = getattr(model.config, "patch_size", None)
    if not isinstance(patch, int):
        return 0, hidden.shape[-1]
    height, width = blank["pixel_values"].shape[-2:]
    patches = (height // patch) * (width // patch)
    return max(0, hidden.shape[1] - patches), hidden.shape[-1]
