"""Quotas as they are written on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.errors import InvalidInput


def parse_quotas(given: Iterable[str] | None) -> dict[str, int | float]:
    """Read quotas: ``films=3`` is three places, ``films=0.5`` half of them.

    Raises
    ------
    InvalidInput
        If one is written otherwise, or a domain has two.

    Examples
    --------
    >>> parse_quotas(["films=3", "books=0.5"])
    {'films': 3, 'books': 0.5}
    """
    quotas: dict[str, int | float] = {}
    for text in given or ():
        domain, _, amount = text.rpartition("=")
        if domain in quotas:
            raise InvalidInput(f"--quota {text}: domain {domain!r} has a quota already")
        quotas[domain] = _amount(text, domain, amount)
    return quotas


def _amount(text: str, domain: str, amount: str) -> int | float:
    try:
        if domain:
            return int(amount) if amount.isdecimal() else float(amount)
    except ValueError:
        pass
    raise InvalidInput(f"--quota {text}: write DOMAIN=3 for places or DOMAIN=0.5 for a share")
