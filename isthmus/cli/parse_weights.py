"""Fusion weights as they are written on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.errors import InvalidInput


def parse_weights(
    given: Iterable[str] | None, option: str = "--weight "
) -> dict[str, float] | None:
    """Read weights of modalities: ``image=2`` counts pictures twice; None where there are none.

    Raises
    ------
    InvalidInput
        If one is written otherwise, or a modality has two.

    Examples
    --------
    >>> parse_weights(["image=2", "text=0.5"])
    {'image': 2.0, 'text': 0.5}
    """
    weights: dict[str, float] = {}
    for text in given or ():
        modality, _, weight = text.partition("=")
        if modality in weights:
            raise InvalidInput(f"{option}{text}: {modality!r} has a weight already")
        try:
            weights[modality] = float(weight)
        except ValueError as error:
            raise InvalidInput(f"{option}{text}: write MODALITY=2, such as image=2") from error
    return weights or None
