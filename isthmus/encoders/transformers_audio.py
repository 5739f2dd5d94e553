"""Audio encoders of Transformers: last hidden states, pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.hf_audio import audio_tower, load_feature_extractor
from isthmus.encoders.hub import Source
from isthmus.encoders.pooling import Pooling, as_pooling, pool
from isthmus.encoders.transformers_source import describe_config, load_model
from isthmus.errors import InvalidInput, UnknownEncoder

if TYPE_CHECKING:
    import torch

# Tokens that stand before those of the patches; their mean is what the model is trained by.
_SPECIAL: Final = {"audio-spectrogram-transformer": 2}


def build_audio_encoder(
    source: Source,
    config: Any,
    runtime: Runtime,
    pooling: str | None,
    window: str | None,
) -> TorchEncoder:
    """Build an encoder of audio; of a model with a decoder, the encoder is used."""
    from transformers import AutoModel

    extractor = load_feature_extractor(source)
    model, weights = load_model(source, AutoModel)
    if config.is_encoder_decoder:
        model = model.get_encoder()
        weights = model.state_dict()
    special = _SPECIAL.get(config.model_type, 0)
    chosen = as_pooling(pooling or ("cls" if special else "mean"), ("cls", "mean"))
    if chosen == "cls" and not special:
        raise InvalidInput(
            f"a model of type {config.model_type} has no cls token; use pooling=mean"
        )

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        hidden = model(**batch).last_hidden_state
        return _pool(model, hidden, batch.get("attention_mask"), chosen, special)

    tower = audio_tower(extractor, forward, window, {"pooling": chosen})
    dim = _probe(model.eval(), tower.extract, tower.rate, config.model_type)
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, {"audio": tower}, dim, identity, runtime, weights)


def _pool(
    model: Any, hidden: torch.Tensor, mask: torch.Tensor | None, pooling: Pooling, special: int
) -> torch.Tensor:
    if pooling == "cls":
        return hidden[:, :special].mean(1)
    if mask is None:
        return hidden[:, special:].mean(1)
    return pool(hidden, _mask_of_frames(model, mask, hidden.shape[1]), "mean")


def _mask_of_frames(model: Any, mask: torch.Tensor, frames: int) -> torch.Tensor:
    """Give the mask of hidden frames, of which a model makes fewer than it is given."""
    if mask.shape[1] == frames:
        return mask
    if hasattr(model, "_get_feature_vector_attention_mask"):
        shorter: torch.Tensor = model._get_feature_vector_attention_mask(frames, mask)
        return shorter
    return mask[:, :: mask.shape[1] // frames][:, :frames]


def _probe(model: Any, extract: Any, rate: int, model_type: str) -> int:
    """Give the length of a vector, found by hearing a second of noise."""
    import numpy as np
    import torch

    noise = np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    arrays = {name: torch.from_numpy(array)[None] for name, array in extract(noise).items()}
    with torch.inference_mode():
        hidden = getattr(model(**arrays), "last_hidden_state", None)
    if hidden is None or hidden.ndim != 3:
        raise UnknownEncoder(f"a model of type {model_type} gives no hidden states of frames")
    return int(hidden.shape[-1])
