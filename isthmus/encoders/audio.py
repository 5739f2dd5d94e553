"""Audio: files to mono samples, safely; resampling; and long clips cut into windows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidAudio, InvalidInput, MissingDependency

Samples = npt.NDArray[np.float32]

# The first bytes of the formats in use. libsndfile reads more formats, but those readers are old
# and seldom tested, so files of other formats are not handed to it.
SIGNATURES: Final = (
    *(b"RIFF", b"RF64", b"riff", b"FORM", b"fLaC"),
    *(b"OggS", b".snd", b"caff", b"ID3"),
)
MAX_SECONDS: Final = 600.0
MAX_BYTES: Final = 256 * 2**20
MIN_RATE, MAX_RATE = 1_000, 192_000  # samples a second
RESAMPLING: Final = "soxr HQ"
_SOXR_QUALITY: Final = "HQ"
_BLOCK_VALUES: Final = 2**20
_MIN_FRAME_SHARE: Final = 0.95  # some MP3 headers promise a few frames too many

# Container headers: values of the size field of a file that was written into a pipe.
_OPEN_SIZES_32: Final = (0, 2**32 - 1)
_OPEN_SIZES_64: Final = (0, 2**63 - 1, 2**64 - 1)
_MAX_CAF_CHUNKS: Final = 1_000
_OGG, _OGG_HEADER, _OGG_CHECKSUM = b"OggS", 27, slice(22, 26)
_OGG_LAST_PAGE: Final = 4
_REVERSED_BITS: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


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
        """Duration in seconds."""
        return len(self.samples) / self.rate


def open_audio(
    data: bytes, *, max_seconds: float = MAX_SECONDS, max_bytes: int = MAX_BYTES
) -> Waveform:
    """Decode an audio file to one channel, the mean of all, block by block.

    Parameters
    ----------
    data : bytes
        The file: WAV, FLAC, Ogg, MP3, AIFF, AU, CAF, W64 or RF64.
    max_seconds : float, default 600
        Longest accepted duration. It is checked during decoding, so a wrong header cannot evade it.
    max_bytes : int, default 256 MiB
        Largest accepted file, in bytes.

    Returns
    -------
    Waveform
        At the sampling rate of the file.

    Raises
    ------
    InvalidAudio
        If the file is empty, too large or too long, damaged, silent, of an unknown format, or
        holds NaN.
    MissingDependency
        If soundfile is not installed.
    """
    if not data:
        raise InvalidAudio("the audio is empty: 0 bytes")
    if len(data) > max_bytes:
        raise InvalidAudio(f"the audio has {len(data)} bytes, over the limit of {max_bytes}")
    if not _has_audio_signature(data):
        raise InvalidAudio("not audio in a known format")
    soundfile = import_soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return validated_waveform(_decode(file, data, max_seconds))
    except (soundfile.SoundFileError, RuntimeError, OverflowError) as error:
        raise InvalidAudio(f"the audio cannot be decoded: {_message(error)}") from error
    except MemoryError as error:
        raise InvalidAudio("the audio does not fit into memory") from error


def validated_waveform(waveform: Waveform) -> Waveform:
    """Return the waveform if it can be encoded.

    Raises
    ------
    InvalidAudio
        If it has several channels, no samples, an unusual rate, NaN or infinity, or silence only.

    Examples
    --------
    >>> validated_waveform(Waveform(np.float32([0, 0.5, 0]), 48_000)).rate
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
    """Return the samples at another rate, shape (n,).

    Raises
    ------
    MissingDependency
        If soxr is not installed.
    """
    samples = np.ascontiguousarray(waveform.samples, np.float32)
    if waveform.rate == rate:
        return samples
    soxr = _import_audio_library("soxr")
    resampled: Samples = soxr.resample(samples, waveform.rate, rate, quality=_SOXR_QUALITY)
    return resampled


def import_soundfile() -> Any:
    """Return the library that decodes audio, or raise `MissingDependency` with the remedy."""
    return _import_audio_library("soundfile")


@dataclass(frozen=True)
class Windows:
    """How a clip is cut into overlapping windows.

    A clip that is no longer than a window stays whole. A longer one is cut every `hop` samples.
    The last window ends where the clip ends, so that none is shorter than the others.

    Attributes
    ----------
    length, hop : int
        Samples in a window, and samples from the start of a window to the start of the next.
    """

    length: int
    hop: int

    def __str__(self) -> str:
        return f"{self.length} samples every {self.hop}, the last at the end; mean at unit norm"

    def cut(self, samples: Samples) -> list[Samples]:
        """Cut a clip.

        Examples
        --------
        >>> [w.tolist() for w in Windows(4, 3).cut(np.arange(9, dtype=np.float32))]
        [[0.0, 1.0, 2.0, 3.0], [3.0, 4.0, 5.0, 6.0], [5.0, 6.0, 7.0, 8.0]]
        """
        last = max(0, len(samples) - self.length)
        starts = [*range(0, last, self.hop), last]
        return [samples[start : start + self.length] for start in starts]


def resolve_windows(
    seconds: str | None, max_length: int | None, default_s: float, rate: int
) -> Windows:
    """Return windows that overlap by a quarter.

    Parameters
    ----------
    seconds : str, optional
        The option ``window``: length of a window in seconds.
    max_length : int, optional
        Longest window that the model takes, in samples, and the default if given.
    default_s : float
        Default length in seconds for a model that takes any length.
    rate : int
        Samples a second.

    Raises
    ------
    InvalidInput
        If `seconds` is not a length that the model takes.
    """
    length = max_length or round(default_s * rate)
    if seconds is not None:
        length = _n_samples(seconds, rate)
        if not 0 < length <= (max_length or length):
            limit = f", up to {max_length / rate:g}" if max_length else ""
            raise InvalidInput(f"window={seconds} cannot be used; give a number of seconds{limit}")
    return Windows(length, max(1, length - length // 4))


def _n_samples(seconds: str, rate: int) -> int:
    try:
        return int(np.clip(round(float(seconds) * rate), 0, 2**31))
    except (ValueError, OverflowError):
        return 0


def _import_audio_library(name: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without its libsndfile
        raise MissingDependency(
            f"audio needs {name}, which cannot be imported ({error}); install it with: "
            "pip install 'isthmus[audio]'"
        ) from error


def _has_audio_signature(data: bytes) -> bool:
    is_mpeg = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    return is_mpeg or data.startswith(SIGNATURES)


def _decode(file: Any, data: bytes, max_seconds: float) -> Waveform:
    rate = int(file.samplerate)
    _require_rate(rate)
    max_samples = int(max_seconds * rate)
    n_samples, blocks = 0, []
    for block in _mono_blocks(file):
        n_samples += len(block)
        if n_samples > max_samples:
            raise InvalidAudio(f"the audio is longer than {max_seconds:g} s, the limit")
        blocks.append(block)
    if n_samples < _MIN_FRAME_SHARE * file.frames or lacks_bytes(data):
        raise InvalidAudio("the audio is cut off: the file is shorter than its header says")
    if is_damaged(data):
        raise InvalidAudio("the audio is damaged: checksums of its pages do not agree with them")
    return Waveform(np.concatenate([np.empty(0, np.float32), *blocks]), rate)


def _mono_blocks(file: Any) -> Iterator[Samples]:
    """Read a file in blocks of bounded size, each averaged to one channel."""
    frames = max(1, _BLOCK_VALUES // int(file.channels))
    # (frames, channels) -> (frames,)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


def _require_rate(rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InvalidAudio(
            f"the audio has {rate} samples a second; from {MIN_RATE} to {MAX_RATE} are taken"
        )


def _message(error: BaseException) -> str:
    """Return the message of an error without the address of the buffer that was read."""
    message = str(error) or type(error).__name__
    return message.rpartition(">: ")[2].removeprefix("Error : ").rstrip(".")


# Integrity of containers: libsndfile decodes a file that is cut off or damaged as far as it can,
# without an error. The functions below find such files.


def lacks_bytes(data: bytes) -> bool:
    """Return whether a file is shorter than its container states.

    Parameters
    ----------
    data : bytes
        WAV, RF64, AIFF, AU, CAF, W64 or Ogg. False for other formats, which state no length.

    Examples
    --------
    >>> lacks_bytes(b"RIFF" + (40).to_bytes(4, "little") + bytes(20))
    True
    """
    if data.startswith(_OGG):
        return any(not complete for complete, _ in _ogg_pages(data))
    stated = _stated_length(data)
    return stated is not None and len(data) + 1 < stated  # the last byte may be padding


def is_damaged(data: bytes) -> bool:
    """Return whether the checksum of an Ogg page is wrong; decoders skip such pages silently."""
    return data.startswith(_OGG) and not all(intact for _, intact in _ogg_pages(data))


def _stated_length(data: bytes) -> int | None:
    """Return the file's length in bytes as its header states it; None if it leaves it open."""
    signature = data[:4]
    if signature == b"RIFF":
        return _length(8, _number(data, 4, 4, "little"), _OPEN_SIZES_32)
    if signature == b"FORM":
        return _length(8, _number(data, 4, 4, "big"), _OPEN_SIZES_32)
    if signature == b"RF64":
        return _length(8, _number(data, 20, 8, "little"), _OPEN_SIZES_64)
    if signature == b"riff":
        return _length(0, _number(data, 16, 8, "little"), _OPEN_SIZES_64)
    if signature == b".snd":
        return _length(_number(data, 4, 4, "big"), _number(data, 8, 4, "big"), _OPEN_SIZES_32)
    return _caf_length(data) if signature == b"caff" else None


def _length(offset: int, size: int, open_sizes: tuple[int, ...]) -> int | None:
    return None if size in open_sizes else offset + size


def _caf_length(data: bytes) -> int | None:
    """Return where the samples of a CAF file end; they are in one of its chunks."""
    at = 8
    for _ in range(_MAX_CAF_CHUNKS):
        size = _number(data, at + 4, 8, "big")
        if data[at : at + 4] == b"data":
            return _length(at + 12, size, _OPEN_SIZES_64)
        at += 12 + size
    return None


def _number(data: bytes, at: int, size: int, order: str) -> int:
    return int.from_bytes(data[at : at + size], "little" if order == "little" else "big")


def _ogg_pages(data: bytes) -> Iterator[tuple[bool, bool]]:
    """Yield for each page whether it is complete, and whether its checksum is right.

    Xiph.Org, "The Ogg encapsulation format version 0" (RFC 3533).
    """
    at, ended = 0, False
    while at < len(data) and not ended:
        segments = data[at + 26 : at + _OGG_HEADER]
        body = at + _OGG_HEADER + (segments[0] if segments else 0)
        end = body + sum(data[at + _OGG_HEADER : body])
        page = data[at:end]
        if not page.startswith(_OGG[: len(page)]):
            yield True, False
            return
        complete = bool(segments) and end <= len(data)
        yield complete, complete and _ogg_checksum(page) == _number(page, 22, 4, "little")
        at, ended = end, bool(page[5:6]) and bool(page[5] & _OGG_LAST_PAGE)


def _ogg_checksum(page: bytes) -> int:
    """Return the CRC of a page: zlib's polynomial, bits in reverse order, start value 0."""
    blank = page[: _OGG_CHECKSUM.start] + bytes(4) + page[_OGG_CHECKSUM.stop :]
    reversed_crc = zlib.crc32(blank.translate(_REVERSED_BITS), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{reversed_crc:032b}"[::-1], 2)
