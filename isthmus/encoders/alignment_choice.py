"""Which alignment a new space has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.local import LOCAL_PAIR
from isthmus.schema import Modality

AlignmentChoice = Alignment | str | Path | None

AUTO = "auto"
PACKAGED = Path(__file__).parent.parent / "local_alignment"


def choose_alignment(
    alignment: AlignmentChoice, encoders: Mapping[Modality, Encoder]
) -> Alignment | None:
    """Give the alignment of some encoders.

    Parameters
    ----------
    alignment : Alignment, path, ``"auto"`` or None
        The alignment or its folder; ``auto`` is the one in the package, where it fits.
    encoders : mapping of str to Encoder
        The encoder of each modality.
    """
    if alignment is None or isinstance(alignment, Alignment):
        return alignment
    if alignment != AUTO:
        return Alignment.load(Path(alignment))
    named = {modality: encoder.spec.partition("?")[0] for modality, encoder in encoders.items()}
    if named != LOCAL_PAIR:
        return None
    packaged = Alignment.load(PACKAGED)
    fits = all(packaged.fits(m, encoders[m].components) for m in packaged.modalities)
    return packaged if fits else None
