"""Generated sounds, and files of them."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from isthmus.encoders.audio import Samples, Waveform


def sine(hertz: float, seconds: float = 0.5, rate: int = 16_000) -> Waveform:
    """A steady tone."""
    times = np.arange(round(seconds * rate)) / rate
    return Waveform((0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32), rate)


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> Waveform:
    """Noise of one seed."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return Waveform((0.1 * samples).astype(np.float32), rate)


def sounds() -> list[Waveform]:
    """Clips of several lengths and rates; the last equals the first."""
    return [
        sine(440),
        noise(2.7),
        noise(0.5, seed=2),
        sine(1_000, 0.001),
        sine(300, 1.9, 48_000),
        noise(0.64, 8_000, seed=1),
        sine(440),
    ]


def file_of(sound: Waveform, kind: str = "WAV", subtype: str = "FLOAT", channels: int = 1) -> bytes:
    """A file of a sound, the same in each channel."""
    return written(np.repeat(sound.samples[:, None], channels, axis=1), sound.rate, kind, subtype)


def written(samples: Samples, rate: int, kind: str = "WAV", subtype: str = "FLOAT") -> bytes:
    """A file of samples of shape (n,) or (n, channels)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()
