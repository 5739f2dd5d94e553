"""Business rules as a request states them: boosts, pins, bans and caps; nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Final, NamedTuple

from isthmus.errors import InvalidInput
from isthmus.ids import is_whole

MAX_PINS: Final = 10  # so that all of them are in the first window of a list
MAX_FACTOR: Final = 100.0
MAX_PLACES: Final = 1_000.0
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
ADDITION: Final = re.compile(r"[+-]\s*\d+(\.\d+)?")

Boosts = Mapping[str, float | str]
Caps = Mapping[str, int]


class Boost(NamedTuple):
    """What a predicate does to the place of an item: ``place / factor - places``.

    Attributes
    ----------
    factor : float
        Above 1 an item moves up: the one at place 10 competes with place 5 for a factor of 2.
    places : float
        Places that it moves up besides; down where it is below 0.
    """

    factor: float = 1.0
    places: float = 0.0


def parse_boost(predicate: str, value: object) -> Boost:
    """Return what a boost does.

    Raises
    ------
    InvalidInput
        If it is neither a factor nor an addition; the message names the predicate.

    Examples
    --------
    >>> parse_boost("price < 20", 2), parse_boost("price < 20", "+5")
    (Boost(factor=2.0, places=0.0), Boost(factor=1.0, places=5.0))
    """
    if isinstance(value, str) and ADDITION.fullmatch(value.strip()):
        places = float(value.replace(" ", ""))
        if abs(places) <= MAX_PLACES:
            return Boost(places=places)
    elif not isinstance(value, bool) and isinstance(value, Real):
        factor = float(value)
        if math.isfinite(factor) and 1 / MAX_FACTOR <= factor <= MAX_FACTOR:
            return Boost(factor=factor)
    raise InvalidInput(
        f"the boost of {predicate!r} is {value!r}; give a factor from {1 / MAX_FACTOR:g} to "
        f"{MAX_FACTOR:g} that the place is divided by (2), or places to move up or down, such as "
        f"'+5' or '-5', at most {MAX_PLACES:g}"
    )


def check_boosts(boosts: object) -> None:
    """Raise `InvalidInput` unless boosts are a mapping of predicates to factors or additions."""
    if not isinstance(boosts, Mapping):
        raise InvalidInput(f"boost is {boosts!r}; give a mapping, such as {{'price < 20': 2}}")
    for predicate, value in boosts.items():
        if not isinstance(predicate, str) or not predicate.strip():
            raise InvalidInput(f"a boost is of {predicate!r}; give a predicate, such as price < 20")
        parse_boost(predicate, value)


def check_caps(caps: object) -> None:
    """Raise `InvalidInput` unless caps are a mapping of attributes to whole numbers from 1."""
    if not isinstance(caps, Mapping):
        raise InvalidInput(f"caps is {caps!r}; give a mapping, such as {{'brand': 2}}")
    for name, most in caps.items():
        if not is_whole(most) or most < 1:
            raise InvalidInput(
                f"the cap of {name!r} is {most!r}; give the most items with one value of it, a "
                "whole number from 1"
            )


def check_pins(pins: tuple[str, ...], bans: tuple[str, ...]) -> None:
    """Raise `InvalidInput` if there are too many pins, one comes twice, or one is banned too."""
    if len(pins) > MAX_PINS:
        raise InvalidInput(f"pin has {len(pins)} items; pin at most {MAX_PINS}")
    for item_id in pins:
        if pins.count(item_id) > 1:
            raise InvalidInput(f"pin has {item_id!r} twice; name it once")
        if item_id in bans:
            raise InvalidInput(f"{item_id!r} is pinned and banned; leave one out")


def to_seconds(name: str, duration: str) -> float:
    """Return a duration in seconds.

    Raises
    ------
    InvalidInput
        If it is none; the message names the argument.

    Examples
    --------
    >>> to_seconds("exclude_shown_for", "7d"), to_seconds("exclude_shown_for", "1.5 h")
    (604800.0, 5400.0)
    """
    found = DURATION.fullmatch(duration.strip())
    if found is None or not float(found[1]):
        raise InvalidInput(
            f"{name} is {duration!r}; give a number of seconds, minutes, hours, days or weeks, "
            "such as 30m, 12h or 7d"
        )
    return float(found[1]) * SECONDS[found[2]]
