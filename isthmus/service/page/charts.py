"""Charts as numbers: where the marks of a drawing stand, for templates that draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

WIDTH: Final = 640.0
HEIGHT: Final = 200.0
LEFT: Final = 48.0
RIGHT: Final = 12.0
TOP: Final = 12.0
BOTTOM: Final = 28.0
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
MAX_TICKS: Final = 6
ASIDE: Final = 9.0  # of the marks of two series, so that their intervals do not hide each other


@dataclass(frozen=True)
class Mark:
    """A point of a line.

    Attributes
    ----------
    x, y : float
        Where it stands.
    label : str
        What it is of, and its value.
    low, high : float or None
        Where the ends of its interval stand.
    """

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes
    ----------
    name : str
        What it shows.
    colour : int
        Number of its colour.
    marks : list of Mark
        Its points, from left to right.
    """

    name: str
    colour: int
    marks: list[Mark]

    @property
    def path(self) -> str:
        """The path of SVG through its points."""
        return "M" + " L".join(f"{mark.x:g} {mark.y:g}" for mark in self.marks)


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Lines over steps, such as releases or measurements.

    Attributes
    ----------
    title : str
        What it shows.
    lines : list of Line
        The lines.
    threshold : float or None
        Where the line of what is allowed stands.
    threshold_label : str
        What that is.
    y_ticks, x_ticks : list of Tick
        Of the axes.
    """

    title: str
    lines: list[Line]
    threshold: float | None = None
    threshold_label: str = ""
    y_ticks: list[Tick] = field(default_factory=list)
    x_ticks: list[Tick] = field(default_factory=list)
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Reading:
    """A value of a series at a step; None where it was not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


def line_chart(
    title: str,
    steps: Sequence[str],
    series: Sequence[tuple[str, Sequence[Reading]]],
    *,
    threshold: float | None = None,
    threshold_label: str = "",
    highest: float | None = None,
    digits: int = 3,
) -> Chart:
    """Return a chart of series over steps.

    Parameters
    ----------
    title : str
        What it shows.
    steps : sequence of str
        Labels of the steps, from left to right.
    series : sequence of (str, sequence of Reading)
        Name, and a reading of every step.
    threshold : float, optional
        A value to draw a line at.
    threshold_label : str
        What that is.
    highest : float, optional
        End of the scale, such as 1 for shares.
    digits : int, default 3
        Digits of the values.
    """
    found = [
        value
        for _, readings in series
        for reading in readings
        for value in (reading.value, reading.low, reading.high)
        if value is not None
    ]
    ends = [*found, *([] if threshold is None else [threshold])] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    if highest is not None:
        high = highest
    ticks = scale(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / span * (HEIGHT - TOP - BOTTOM), 1)

    def x(step: int) -> float:
        inner = WIDTH - LEFT - RIGHT
        return round(LEFT + inner * ((step + 0.5) / max(len(steps), 1)), 1)

    def beside(place: int) -> Callable[[int], float]:
        """Return where the steps of a series stand: beside those of the others."""
        shift = ASIDE * (place - (len(series) - 1) / 2)
        return lambda step: x(step) + shift

    lines = [
        Line(name, place % 8, list(_marks(name, steps, readings, beside(place), y, digits)))
        for place, (name, readings) in enumerate(series)
    ]
    every = max(1, math.ceil(len(steps) / 8))
    return Chart(
        title,
        lines,
        None if threshold is None else y(threshold),
        threshold_label,
        [Tick(y(tick), f"{tick:.10g}") for tick in ticks],
        [Tick(x(at), label) for at, label in enumerate(steps) if at % every == 0],
    )


def _marks(
    name: str,
    steps: Sequence[str],
    readings: Sequence[Reading],
    x: Callable[[int], float],
    y: Callable[[float], float],
    digits: int,
) -> Iterable[Mark]:
    for at, reading in enumerate(readings):
        if reading.value is not None:
            said = f"{name}, {steps[at]}: {reading.value:.{digits}f}"
            ends: tuple[float | None, float | None] = None, None
            if reading.low is not None and reading.high is not None:
                said += f" ({reading.low:.{digits}f} to {reading.high:.{digits}f})"
                ends = y(reading.low), y(reading.high)
            yield Mark(x(at), y(reading.value), said, *ends)


def scale(low: float, high: float) -> list[float]:
    """Return round numbers from below one number to above another, at most six.

    Examples
    --------
    >>> scale(0.93, 1.0), scale(0, 17)
    ([0.92, 0.94, 0.96, 0.98, 1.0], [0.0, 5.0, 10.0, 15.0, 20.0])
    """
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / MAX_TICKS))
    for step in (factor * power for factor in STEPS):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < MAX_TICKS:
            break
    return [round(number * step, 12) for number in range(first, last + 1)]
