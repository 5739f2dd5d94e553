"""Plots: the palette of Okabe and Ito (2008), told apart with any colour vision, and matplotlib."""

from __future__ import annotations

from typing import Any, Final

from isthmus.errors import MissingDependency

PALETTE: Final = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#5B5B5B",
    "#8C6D00",
)


def require_matplotlib(purpose: str, extra: str) -> Any:
    """Import matplotlib.

    Parameters
    ----------
    purpose : str
        What it draws, for the error: ``"maps"``.
    extra : str
        The extra of Isthmus that installs it.

    Raises
    ------
    MissingDependency
        If it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependency(
            f"matplotlib, which draws {purpose}, is not installed; install it with: "
            f"pip install 'isthmus[{extra}]'"
        ) from error
    return matplotlib
