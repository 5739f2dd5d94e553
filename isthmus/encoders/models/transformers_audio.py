"""Audio encoders of Transformers: last hidden states, pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.hub import ModelSource
from isthmus.encoders.models.transformers_parts import (
    Pooling,
    describe_config,
    load_model,
    pool,
    validated_pooling,
)
from isthmus.errors import InvalidInput, UnknownEncoder

if TYPE_CHECKING:
    import torch
import numpy as np

from isthmus.encoders.audio import RESAMPLING, Samples, import_soundfile, resolve_windows
from isthmus.encoders.backends.towers import Arrays, AudioTower, Forward
from isthmus.encoders.models.transformers_parts import describe_processor

USUAL_WINDOW_S: Final = 10.0  # where a model takes any length; attention grows with its square
_FRAMES_A_SECOND: Final = 100  # of mel features
_LONGER = "is_longer"

# Tokens that stand before those of the patches; their mean is what the model is trained by.
_SPECIAL: Final = {"audio-spectrogram-transformer": 2}


def build_audio_encoder(
    source: ModelSource,
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
    chosen = validated_pooling(pooling or ("cls" if special else "mean"), ("cls", "mean"))
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


def load_feature_extractor(source: ModelSource) -> Any:
    """Load the feature extractor of a model; audio cannot be decoded without soundfile."""
    from transformers import AutoFeatureExtractor

    import_soundfile()
    loader: Any = AutoFeatureExtractor
    return loader.from_pretrained(source.name, local_files_only=source.local)


def audio_tower(
    extractor: Any, forward: Forward, window: str | None, components: dict[str, str]
) -> AudioTower:
    """Make the tower of a model that takes what a feature extractor gives.

    Parameters
    ----------
    extractor : transformers.SequenceFeatureExtractor
        Takes samples at its own sampling rate.
    forward : callable
        Called with the names that the extractor gives.
    window : str, optional
        Length of a window in seconds; by default the longest that the extractor takes.
    components : dict of str to str
        What of `forward` changes a vector.
    """
    rate = int(extractor.sampling_rate)
    windows = resolve_windows(window, _longest(extractor), USUAL_WINDOW_S, rate)
    return AudioTower(
        extract=_Extract(extractor),
        rate=rate,
        windows=windows,
        forward=forward,
        components={
            **describe_processor(extractor),
            **components,
            "windows": str(windows),
            "resampling": RESAMPLING,
        },
    )


class _Extract:
    """Calls a feature extractor with one window."""

    def __init__(self, extractor: Any) -> None:
        self._extractor = extractor

    def __call__(self, samples: Samples) -> Arrays:
        extractor = self._extractor
        masked = {"return_attention_mask": True} if _pads_to_one_length(extractor) else {}
        found = extractor(
            samples, sampling_rate=extractor.sampling_rate, return_tensors="np", **masked
        )
        arrays = {name: _as_model_takes(np.asarray(array)[0]) for name, array in found.items()}
        if _LONGER in arrays:
            # A window is never longer than the model takes. CLAP's extractor says so of one clip
            # of every call all the same, which is meant for training.
            arrays[_LONGER] = np.zeros_like(arrays[_LONGER])
        return arrays


def _as_model_takes(array: Any) -> Any:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _pads_to_one_length(extractor: Any) -> bool:
    """Tell whether short audio is padded to one length (Whisper), so that a mask is needed."""
    return hasattr(extractor, "n_samples")


def _longest(extractor: Any) -> int | None:
    """Give how many samples an extractor takes before it truncates; None where it never does."""
    for name in ("nb_max_samples", "n_samples"):
        if hasattr(extractor, name):
            return int(getattr(extractor, name))
    frames = getattr(extractor, "max_length", None)
    return int(frames * extractor.sampling_rate / _FRAMES_A_SECOND) if frames else None
