"""Audio: bytes of a file to mono samples, safely, and from one sampling rate to another."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidAudio, InvalidInput, MissingDependency

_UNSTATED_32: Final = (0, 2**32 - 1)  # the size in a file that was written into a pipe
_UNSTATED_64: Final = (0, 2**63 - 1, 2**64 - 1)
_MOST_CHUNKS: Final = 1_000
_OGG, _OGG_HEADER, _OGG_CHECKSUM = b"OggS", 27, slice(22, 26)
_LAST_PAGE: Final = 4
_BITS_TURNED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

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


def lacks_bytes(data: bytes) -> bool:
    """Tell whether a file is shorter than its container says.

    Parameters
    ----------
    data : bytes
        WAV, RF64, AIFF, AU, CAF, W64 or Ogg; of other formats nothing is known.

    Examples
    --------
    >>> lacks_bytes(b"RIFF" + (40).to_bytes(4, "little") + bytes(20))
    True
    """
    if data.startswith(_OGG):
        return any(not whole for whole, _ in _ogg_pages(data))
    stated = _stated_length(data)
    return stated is not None and len(data) + 1 < stated  # the last byte may be one of padding


def is_damaged(data: bytes) -> bool:
    """Tell whether a page of an Ogg file does not have its checksum; decoders leave it out."""
    return data.startswith(_OGG) and not all(sound for _, sound in _ogg_pages(data))


def _stated_length(data: bytes) -> int | None:
    """Give the bytes that the header speaks of, or None where it leaves that open."""
    head = data[:4]
    if head == b"RIFF":
        return _more(8, _number(data, 4, 4, "little"), _UNSTATED_32)
    if head == b"FORM":
        return _more(8, _number(data, 4, 4, "big"), _UNSTATED_32)
    if head == b"RF64":
        return _more(8, _number(data, 20, 8, "little"), _UNSTATED_64)
    if head == b"riff":
        return _more(0, _number(data, 16, 8, "little"), _UNSTATED_64)
    if head == b".snd":
        return _more(_number(data, 4, 4, "big"), _number(data, 8, 4, "big"), _UNSTATED_32)
    return _length_of_chunks(data) if head == b"caff" else None


def _more(before: int, stated: int, unstated: tuple[int, ...]) -> int | None:
    return None if stated in unstated else before + stated


def _length_of_chunks(data: bytes) -> int | None:
    """Give where the samples of a CAF file end, which stand in one of its chunks."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        size = _number(data, at + 4, 8, "big")
        if data[at : at + 4] == b"data":
            return _more(at + 12, size, _UNSTATED_64)
        at += 12 + size
    return None


def _number(data: bytes, at: int, size: int, order: str) -> int:
    return int.from_bytes(data[at : at + size], "little" if order == "little" else "big")


def _ogg_pages(data: bytes) -> Iterator[tuple[bool, bool]]:
    """Tell of each page whether all of it is there, and whether it is as it was written.

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
        whole = bool(segments) and end <= len(data)
        yield whole, whole and _ogg_checksum(page) == _number(page, 22, 4, "little")
        at, ended = end, bool(page[5:6]) and bool(page[5] & _LAST_PAGE)


def _ogg_checksum(page: bytes) -> int:
    """Give the CRC of a page: zlib's polynomial, bits in the other order, begun with 0."""
    blank = page[: _OGG_CHECKSUM.start] + bytes(4) + page[_OGG_CHECKSUM.stop :]
    turned = zlib.crc32(blank.translate(_BITS_TURNED), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{turned:032b}"[::-1], 2)


@dataclass(frozen=True)
class Windows:
    """How a clip is cut.

    A clip that is no longer than a window is left whole. A longer one is cut every `hop` samples,
    and the last window ends where the clip does, so that none is shorter than the others.

    Attributes
    ----------
    length, hop : int
        Samples of a window, and from the start of one to that of the next.
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


def choose_windows(asked: str | None, most: int | None, usual_s: float, rate: int) -> Windows:
    """Choose windows that overlap by a quarter.

    Parameters
    ----------
    asked : str, optional
        Length in seconds that a user wants.
    most : int, optional
        Longest window that the model takes, in samples; the default.
    usual_s : float
        The default, in seconds, for a model that takes any length.
    rate : int
        Samples a second.

    Raises
    ------
    InvalidInput
        If what is asked for is no length that the model takes.
    """
    length = most or round(usual_s * rate)
    if asked is not None:
        length = _samples(asked, rate)
        if not 0 < length <= (most or length):
            limit = f", up to {most / rate:g}" if most else ""
            raise InvalidInput(f"window={asked} cannot be used; give a number of seconds{limit}")
    return Windows(length, max(1, length - length // 4))


def _samples(seconds: str, rate: int) -> int:
    try:
        return int(np.clip(round(float(seconds) * rate), 0, 2**31))
    except (ValueError, OverflowError):
        return 0
