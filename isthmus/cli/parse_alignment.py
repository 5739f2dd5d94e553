"""An alignment as it is written on the command line."""

from __future__ import annotations


def parse_alignment(given: str) -> str | None:
    """Read which alignment a space is to have: ``auto``, a folder, or ``none``.

    Examples
    --------
    >>> parse_alignment("auto"), parse_alignment("none")
    ('auto', None)
    """
    return None if given == "none" else given
