"""Quotas as a request states them, numbers or shares of the places of a list; nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Final

from isthmus.errors import InvalidInput
from isthmus.ids import is_whole
from isthmus.requests import require_mapping

ROUNDING: Final = 1e-9

Quotas = Mapping[str, int | float]


def check_quotas(quotas: Quotas, k: int) -> None:
    """Check that quotas are numbers or shares of at most k places.

    Raises
    ------
    InvalidInput
        If a quota is not valid, or they ask for more places than there are.
    """
    require_mapping(quotas, "quotas")
    places = sum(_places(domain, quota, k) for domain, quota in quotas.items())
    if places > k + ROUNDING:
        raise InvalidInput(f"the quotas ask for {places:g} places, but k is {k}")


def _places(domain: str, quota: object, k: int) -> float:
    number = float(quota) if isinstance(quota, Real) else 0.0  # NumPy's numbers are Real, too
    if is_whole(quota) and number >= 1:
        return number
    if not isinstance(quota, Integral) and 0 < number <= 1:  # a bool is Integral
        return number * k
    raise InvalidInput(
        f"the quota of domain {domain!r} is {quota!r}; give a whole number of places from 1, or "
        "a share of k over 0.0 and up to 1.0"
    )
