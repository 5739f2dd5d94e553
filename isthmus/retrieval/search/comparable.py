"""What a query can be compared with: items that have a vector in one of its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from isthmus.errors import UnsupportedModality
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray


def blocks_held(view: View, selections: Sequence[Selection | None]) -> set[str]:
    """Name the blocks in which some of the allowed items has a vector."""
    return {
        block.name
        for block in view.blocks
        if any(view.holds(block.name, allowed) for allowed in selections)
    }


def incomparable(vectors: Mapping[str, FloatArray], held: set[str], space: Path) -> str:
    """Say why a query cannot find items that have vectors in some blocks; empty if it can.

    Parameters
    ----------
    vectors : mapping of str to numpy.ndarray
        What is looked for, by block.
    held : set of str
        The blocks of the items, see `blocks_held`.
    space : Path
        Folder of the space, for the advice.
    """
    if not vectors or not held or held & vectors.keys():
        return ""
    alignable = "audio" not in {*vectors, *held}
    return (
        f"{' and '.join(sorted(vectors))} cannot find these items, which have only "
        f"{' and '.join(sorted(held))}: the vectors of encoders that were not aligned "
        "say nothing of each other. "
        + (
            f"Align them with: isthmus align --pairs FILES --space {space}"
            if alignable
            else "Text finds audio in a space whose encoder takes both, such as clap/NAME"
        )
    )


def require_comparable(
    view: View,
    vectors: Mapping[str, FloatArray],
    selections: Sequence[Selection | None],
    space: Path,
) -> None:
    """Refuse a query that found nothing since it has no block in common with any item.

    Raises
    ------
    UnsupportedModality
        If that is so.
    """
    reason = incomparable(vectors, blocks_held(view, selections), space)
    if reason:
        raise UnsupportedModality(reason)
