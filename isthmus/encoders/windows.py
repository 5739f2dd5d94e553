"""Windows: a long clip in pieces as long as a model takes, which overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.encoders.audio import Samples
from isthmus.errors import InvalidInput


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
