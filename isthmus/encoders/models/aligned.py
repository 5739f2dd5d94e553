"""Aligned encoders: several encoders behind projection heads, as one encoder of one space."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.encoders.alignment import PACKAGED, Alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder
from isthmus.errors import CorruptAlignment, UnknownEncoder
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

LOCAL = "local"


class AlignedEncoder(Encoder):
    """Encoders whose vectors an alignment brings into one space.

    Parameters
    ----------
    encoders : mapping of str to Encoder
        The encoder of each modality.
    alignment : Alignment
        Their projection heads.
    spec : str
        The spec that loads it again.

    Raises
    ------
    FingerprintMismatch
        If the alignment was trained for other encoders.
    """

    def __init__(
        self, encoders: Mapping[Modality, Encoder], alignment: Alignment, spec: str
    ) -> None:
        alignment.require(encoders)
        self.spec = spec
        self.modalities = frozenset(alignment.modalities)
        self.dim = alignment.dim
        self._encoders, self._alignment = dict(encoders), alignment

    @property
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name."""
        named = {"kind": "aligned", "weights": self._alignment.fingerprint, "dim": str(self.dim)}
        for modality in self._alignment.modalities:
            components = self._encoders[modality].components
            named |= {f"{modality}.{name}": value for name, value in components.items()}
            if "precision" in components:
                named["precision"] = components["precision"]
        return named

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Any]:
        """Tokenise texts, or resize images; thread-safe."""
        self.require(modality)
        return self._encoders[modality].prepare(batch, modality)

    def are_truncated(self, prepared: Sequence[Any], modality: Modality) -> list[bool]:
        """Return which prepared contents fill the input of the modality's encoder."""
        return self._encoders[modality].are_truncated(prepared, modality)

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the modality's encoder and its head over prepared values.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm.
        """
        self.require(modality)
        vectors = self._encoders[modality].embed(prepared, modality)  # (n, n_in)
        return self._alignment.align(modality, vectors)  # (n, dim)

    def for_queries(self, instruction: str | None = None) -> AlignedEncoder:
        """Return this encoder with those of queries in the place of its own."""
        if instruction is not None and "text" not in self._encoders:
            super().for_queries(instruction)  # raises
        encoder = copy.copy(self)
        encoder._encoders = {
            modality: one.for_queries(instruction if modality == "text" else None)
            for modality, one in self._encoders.items()
        }
        return encoder

    def _encode(self, batch: Sequence[Any], modality: Modality) -> FloatArray:
        """Turn content into vectors with the modality's encoder, and align them."""
        return self._alignment.align(modality, self._encoders[modality]._encode(batch, modality))


def load_aligned(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load the encoders that an alignment names, behind its heads.

    Parameters
    ----------
    name : str
        ``local`` for the alignment that comes with Isthmus, or the folder of another.
    device, precision, compile
        As for `isthmus.encoders.load_encoder`.

    Raises
    ------
    UnknownEncoder
        If the folder holds no alignment.
    FingerprintMismatch
        If its encoders have changed since the alignment was trained.
    """
    folder = PACKAGED if name == LOCAL else Path(name).expanduser()
    try:
        alignment = Alignment.load(folder)
    except CorruptAlignment as error:
        raise UnknownEncoder(f"cannot load 'aligned/{name}': {error}") from error
    encoders = {
        modality: load_encoder(spec, device=device, precision=precision, compile=compile)
        for modality, spec in alignment.specs.items()
    }
    return AlignedEncoder(encoders, alignment, f"aligned/{name}")
