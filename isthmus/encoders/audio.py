"""Audio: bytes of a file to mono samples, safely, and from one sampling rate to another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.encoders.containers import is_damaged, lacks_bytes
from isthmus.errors import InvalidAudio, MissingDependency

Samples = npt.NDArray[np.float32]

# How files of formats in use begin; libsndfile's readers of others are old and seldom tried.
HEADS: Final = (b"RIFF", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"caff", b"ID3")
LOWEST_RATE, HIGHEST_RATE = 1_000, 192_000
RESAMPLING: Final = "soxr HQ"
_QUALITY: Final = "HQ"
_VALUES_A_BLOCK: Final = 2**20
_CUT_OFF: Final = 0.95  # some MP3 headers promise a few frames too many


@dataclass(frozen=True, eq=False)
class Waveform:
    """Decoded audio.

    Attributes
    ----------
    samples : numpy.ndarray
        float32, shape (n,): one channel, from -1 to 1.
    rate : int
        Samples a second.
    """

    samples: Samples
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


def open_audio(
    data: bytes, *, max_seconds: float = 600.0, max_bytes: int = 256 * 2**20
) -> Waveform:
    """Decode an audio file to one channel, the mean of all, block by block.

    Parameters
    ----------
    data : bytes
        The file: WAV, FLAC, Ogg, MP3, AIFF, AU, CAF, W64 or RF64.
    max_seconds : float, default 600
        Longest audio; checked while it is decoded, whatever the header says.
    max_bytes : int, default 256 MiB
        Largest file, in bytes.

    Returns
    -------
    Waveform
        At the file's own sampling rate.

    Raises
    ------
    InvalidAudio
        If the file is empty, too large or too long, damaged, silent, no audio that is known, or
        holds NaN.
    MissingDependency
        If soundfile is not installed.
    """
    if not data:
        raise InvalidAudio("the audio is empty: 0 bytes")
    if len(data) > max_bytes:
        raise InvalidAudio(f"the audio has {len(data)} bytes, over the limit of {max_bytes}")
    if not _begins_as_audio(data):
        raise InvalidAudio("not audio in a known format")
    soundfile = require_soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return require_sound(_decode(file, data, max_seconds))
    except (soundfile.SoundFileError, RuntimeError, OverflowError) as error:
        raise InvalidAudio(f"the audio cannot be decoded: {_plain(error)}") from error
    except MemoryError as error:
        raise InvalidAudio("the audio does not fit into memory") from error


def require_sound(waveform: Waveform) -> Waveform:
    """Give a waveform back, if there is something to hear in it.

    Raises
    ------
    InvalidAudio
        If it is no single channel, has no samples or an unusual rate, holds NaN or infinity, or
        is silent throughout.

    Examples
    --------
    >>> require_sound(Waveform(np.float32([0, 0.5, 0]), 48_000)).rate
    48000
    """
    samples, rate = waveform.samples, waveform.rate
    if samples.ndim != 1:
        raise InvalidAudio(f"samples of shape {samples.shape}; give one channel, shape (n,)")
    if not len(samples):
        raise InvalidAudio("the audio is empty: 0 samples")
    _require_rate(rate)
    if not np.isfinite(samples).all():
        raise InvalidAudio("the audio holds NaN or infinity")
    if not samples.any():
        raise InvalidAudio("the audio is silent: every sample is 0")
    return waveform


def resample(waveform: Waveform, rate: int) -> Samples:
    """Give the samples at another rate, shape (n,).

    Raises
    ------
    MissingDependency
        If soxr is not installed.
    """
    samples = np.ascontiguousarray(waveform.samples, np.float32)
    if waveform.rate == rate:
        return samples
    soxr = _require("soxr")
    resampled: Samples = soxr.resample(samples, waveform.rate, rate, quality=_QUALITY)
    return resampled


def require_soundfile() -> Any:
    """Give the library that decodes audio, or say how to install it."""
    return _require("soundfile")


def _require(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without its libsndfile
        raise MissingDependency(
            f"audio needs {name}, which cannot be imported ({error}); install it with: "
            "pip install 'isthmus[audio]'"
        ) from error


def _begins_as_audio(data: bytes) -> bool:
    in_mpeg = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    return in_mpeg or data.startswith(HEADS)


def _decode(file: Any, data: bytes, max_seconds: float) -> Waveform:
    rate = int(file.samplerate)
    _require_rate(rate)
    most = int(max_seconds * rate)
    held, blocks = 0, []
    for block in _mono_blocks(file):
        held += len(block)
        if held > most:
            raise InvalidAudio(f"the audio is longer than {max_seconds:g} s, the limit")
        blocks.append(block)
    if held < _CUT_OFF * file.frames or lacks_bytes(data):
        raise InvalidAudio("the audio is cut off: the file is shorter than its header says")
    if is_damaged(data):
        raise InvalidAudio("the audio is damaged: checksums of its pages do not agree with them")
    return Waveform(np.concatenate([np.empty(0, np.float32), *blocks]), rate)


def _mono_blocks(file: Any) -> Iterator[Samples]:
    """Read a file in blocks of bounded size, each brought to one channel."""
    frames = max(1, _VALUES_A_BLOCK // int(file.channels))
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


def _require_rate(rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidAudio(
            f"the audio has {rate} samples a second; from {LOWEST_RATE} to {HIGHEST_RATE} are taken"
        )


def _plain(error: BaseException) -> str:
    """Give an error's message without the address of the buffer it was read from."""
    message = str(error) or type(error).__name__
    return message.rpartition(">: ")[2].removeprefix("Error : ").rstrip(".")
