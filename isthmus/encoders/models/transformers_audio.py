"""Audio encoders of Transformers: features of windows, last hidden states, pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.encoders.audio import RESAMPLING, Samples, import_soundfile, resolve_windows
from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import Arrays, AudioTower, Forward
from isthmus.encoders.hub import ModelSource
from isthmus.encoders.models.transformers_parts import (
    Pooling,
    describe_config,
    describe_processor,
    load_model,
    pool,
    validated_pooling,
)
from isthmus.errors import InvalidInput, UnknownEncoder

if TYPE_CHECKING:
    import torch

# For models that take any length: the cost of attention grows with its square.
DEFAULT_WINDOW_S: Final = 10.0

# Special tokens that precede those of the patches. The model is trained on their mean.
_N_SPECIAL_TOKENS: Final = {"audio-spectrogram-transformer": 2}
_MEL_FRAMES_PER_SECOND: Final = 100
_IS_LONGER = "is_longer"


def build_audio_encoder(
    source: ModelSource,
    config: Any,
    runtime: Runtime,
    pooling: str | None,
    window: str | None,
) -> TorchEncoder:
    """Build an encoder of audio; of an encoder-decoder model, the encoder is used."""
    from transformers import AutoModel

    extractor = load_feature_extractor(source)
    model, weights = load_model(source, AutoModel)
    if config.is_encoder_decoder:
        model = model.get_encoder()
        weights = model.state_dict()
    n_special = _N_SPECIAL_TOKENS.get(config.model_type, 0)
    method = validated_pooling(pooling or ("cls" if n_special else "mean"), ("cls", "mean"))
    if method == "cls" and not n_special:
        raise InvalidInput(
            f"a model of type {config.model_type} has no cls token; use pooling=mean"
        )

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        hidden = model(**batch).last_hidden_state  # (n, n_frames, dim)
        return _pool(model, hidden, batch.get("attention_mask"), method, n_special)

    tower = audio_tower(extractor, forward, window, {"pooling": method})
    dim = _probe_dim(model.eval(), tower.extract, tower.rate, config.model_type)
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, {"audio": tower}, dim, identity, runtime, weights)


def load_feature_extractor(source: ModelSource) -> Any:
    """Load the feature extractor of a model; raise `MissingDependency` without soundfile."""
    from transformers import AutoFeatureExtractor

    import_soundfile()
    loader: Any = AutoFeatureExtractor
    return loader.from_pretrained(source.name, **source.options)


def audio_tower(
    extractor: Any,
    forward: Forward,
    window: str | None,
    components: dict[str, str],
    extract: Callable[[Samples], Arrays] | None = None,
) -> AudioTower:
    """Build the audio tower of a model behind a feature extractor.

    Parameters
    ----------
    extractor : transformers.SequenceFeatureExtractor
        Takes samples at its own sampling rate.
    forward : callable
        The model; its arguments have the names of the extractor's arrays.
    window : str, optional
        The option ``window`` in seconds; by default the longest that the extractor takes.
    components : dict of str to str
        Settings of `forward` that change a vector.
    extract : callable, optional
        Samples of one window to named arrays; by default the extractor alone.
    """
    rate = int(extractor.sampling_rate)
    windows = resolve_windows(window, _max_samples(extractor), DEFAULT_WINDOW_S, rate)
    return AudioTower(
        extract=extract or _FeatureExtraction(extractor),
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


class _FeatureExtraction:
    """Calls a feature extractor with the samples of one window."""

    def __init__(self, extractor: Any) -> None:
        self._extractor = extractor

    def __call__(self, samples: Samples) -> Arrays:
        extractor = self._extractor
        mask = {"return_attention_mask": True} if _pads_to_one_length(extractor) else {}
        features = extractor(
            samples, sampling_rate=extractor.sampling_rate, return_tensors="np", **mask
        )  # (1, ...) each
        return arrays_of_window(features)


def arrays_of_window(features: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the only row of a feature extractor's output, shape (1, ...) each."""
    arrays = {name: _as_float32(np.asarray(array)[0]) for name, array in features.items()}
    if _IS_LONGER in arrays:
        # A window is never longer than the model takes. CLAP's extractor marks one clip of
        # every call as longer all the same, which is meant for training.
        arrays[_IS_LONGER] = np.zeros_like(arrays[_IS_LONGER])
    return arrays


def _as_float32(array: Any) -> Any:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _pads_to_one_length(extractor: Any) -> bool:
    """Return whether short audio is padded to one length (Whisper), so that a mask is needed."""
    return hasattr(extractor, "n_samples")


def _max_samples(extractor: Any) -> int | None:
    """Return how many samples an extractor takes before it truncates; None if it never does."""
    for name in ("nb_max_samples", "n_samples"):
        if hasattr(extractor, name):
            return int(getattr(extractor, name))
    frames = getattr(extractor, "max_length", None)
    return int(frames * extractor.sampling_rate / _MEL_FRAMES_PER_SECOND) if frames else None


def _pool(
    model: Any, hidden: torch.Tensor, mask: torch.Tensor | None, pooling: Pooling, n_special: int
) -> torch.Tensor:
    """Pool hidden states, shape (n, n_frames, dim), to shape (n, dim)."""
    if pooling == "cls":
        return hidden[:, :n_special].mean(1)
    if mask is None:
        return hidden[:, n_special:].mean(1)
    return pool(hidden, _frame_mask(model, mask, hidden.shape[1]), "mean")


def _frame_mask(model: Any, mask: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Return the mask of hidden frames, shape (n, n_frames); a model shortens its input."""
    if mask.shape[1] == n_frames:
        return mask
    if hasattr(model, "_get_feature_vector_attention_mask"):
        shorter: torch.Tensor = model._get_feature_vector_attention_mask(n_frames, mask)
        return shorter
    return mask[:, :: mask.shape[1] // n_frames][:, :n_frames]


def _probe_dim(model: Any, extract: Any, rate: int, model_type: str) -> int:
    """Return the length of a vector, measured on a second of noise."""
    import torch

    noise = np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    arrays = {name: torch.from_numpy(array)[None] for name, array in extract(noise).items()}
    with torch.inference_mode():
        hidden = getattr(model(**arrays), "last_hidden_state", None)
    if hidden is None or hidden.ndim != 3:
        raise UnknownEncoder(f"a model of type {model_type} gives no hidden states of frames")
    return int(hidden.shape[-1])
