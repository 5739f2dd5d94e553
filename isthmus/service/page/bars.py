"""Bars and other marks of charts: numbers as places on a scale from 0 to 100.

Templates draw them as SVG; the styles that would place them otherwise are forbidden to the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.retrieval.search.results import Explanation

WIDTH: Final = 100.0
MAX_REASONS: Final = 5


@dataclass(frozen=True)
class Bar:
    """A labelled number on the scale of its chart.

    Attributes
    ----------
    label : str
        What it is.
    value : float
        The number.
    x, width : float
        Where the bar begins, and how long it is, from 0 to 100.
    note : str
        More to be said of it.
    item_id : str or None
        The item that it is about.
    """

    label: str
    value: float
    x: float
    width: float
    note: str = ""
    item_id: str | None = None

    @property
    def is_negative(self) -> bool:
        """Whether the number is below zero."""
        return self.value < 0


def bars_of(
    rows: Iterable[tuple[str, float, str, str | None]], largest: float | None = None
) -> list[Bar]:
    """Return bars of labels, numbers, notes and items, on a scale that holds all.

    Where a number is below zero, zero is in the middle.

    Parameters
    ----------
    rows : iterable of tuple
        Label, number, note, item.
    largest : float, optional
        Absolute value at the end of the scale; by default the largest of the numbers.

    Examples
    --------
    >>> [(bar.x, bar.width) for bar in bars_of([("a", 2.0, "", None), ("b", -1.0, "", None)])]
    [(50.0, 50.0), (25.0, 25.0)]
    """
    rows = list(rows)
    end = largest or max((abs(value) for _, value, _, _ in rows), default=1.0) or 1.0
    zero = WIDTH / 2 if any(value < 0 for _, value, _, _ in rows) else 0.0
    bars = []
    for label, value, note, item_id in rows:
        length = min(abs(value) / end, 1.0) * (WIDTH - zero)
        x = zero - length if value < 0 else zero
        bars.append(Bar(label, value, round(x, 2), round(length, 2), note, item_id))
    return bars


@dataclass(frozen=True)
class Reasons:
    """An explanation as bars, all on one scale.

    Attributes
    ----------
    sentence : str
        The strongest reasons in words.
    parts : list of Bar
        The parts of the score: popularity and the person.
    history, sources, contents : list of Bar
        Items of the history, candidate generators, and contents.
    """

    sentence: str
    parts: list[Bar]
    history: list[Bar]
    sources: list[Bar]
    contents: list[Bar]


def reasons_of(explanation: Explanation, largest: float) -> Reasons:
    """Return an explanation as bars.

    Parameters
    ----------
    explanation : Explanation
        Why an item is in a list.
    largest : float
        Largest gain of the list, at the end of the scale, so that bars of its items compare.
    """
    gained: Sequence[tuple[str, float, str, str | None]] = [
        (one.describe(), one.gain, _similarities(one.similarity), one.item_id)
        for one in explanation.history[:MAX_REASONS]
    ]
    sources: Sequence[tuple[str, float, str, str | None]] = [
        (one.name, one.gain, "" if one.rank is None else f"place {one.rank} in its list", None)
        for one in explanation.generators
        if one.rank is not None or one.gain
    ][:MAX_REASONS]
    contents = [(one.name, one.gain, "", None) for one in explanation.contents[:MAX_REASONS]]
    parts = [
        ("popularity", explanation.popularity, "", None),
        ("this person", explanation.personal, "", None),
    ]
    return Reasons(
        explanation.describe(),
        bars_of(parts),
        bars_of(gained, largest),
        bars_of(sources, largest),
        bars_of(contents, largest),
    )


def largest_gain(explanations: Iterable[Explanation]) -> float:
    """Return the largest absolute gain of explanations; 1 where there is none."""
    gains = [
        abs(one.gain)
        for explanation in explanations
        for reasons in (explanation.history, explanation.generators, explanation.contents)
        for one in reasons
    ]
    return max(gains, default=1.0) or 1.0


def _similarities(similarity: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in similarity.items())
