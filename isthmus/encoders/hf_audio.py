"""Hugging Face feature extractors: the samples of one window to the arrays a model takes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from isthmus.encoders.audio import RESAMPLING, Samples, require_soundfile
from isthmus.encoders.backends.tower import Arrays, AudioTower, Forward
from isthmus.encoders.hf_images import describe_processor
from isthmus.encoders.hub import Source
from isthmus.encoders.windows import choose_windows

USUAL_WINDOW_S: Final = 10.0  # where a model takes any length; attention grows with its square
_FRAMES_A_SECOND: Final = 100  # of mel features
_LONGER = "is_longer"


def load_feature_extractor(source: Source) -> Any:
    """Load the feature extractor of a model; audio cannot be decoded without soundfile."""
    from transformers import AutoFeatureExtractor

    require_soundfile()
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
    windows = choose_windows(window, _longest(extractor), USUAL_WINDOW_S, rate)
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
