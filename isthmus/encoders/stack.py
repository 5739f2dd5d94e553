"""The encoder stack: the encoders of a space and the named vectors their vectors form.

One encoder for several modalities gives one named vector, in which they meet. Different encoders
give a named vector each: the item vector is the named vectors side by side with a mask, and a query
is answered from the named vectors it has. Text and image of different encoders are compared only in
the named vector of an alignment, which stands beside theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isthmus.encoders.encoder import Encoder, digest_components
from isthmus.errors import UnsupportedModality
from isthmus.schema import MODALITIES, Modality, vector_column

if TYPE_CHECKING:
    from isthmus.encoders.alignment import Alignment

ALIGNED: Final = "aligned"
ALIGNMENT: Final = "alignment"


@dataclass(frozen=True)
class NamedVector:
    """A part of the item vector with a space of its own.

    Attributes
    ----------
    name : str
        ``text`` or ``image``, or ``joint`` where one encoder serves several modalities, or
        ``aligned`` where an alignment brings those of several encoders together.
    dim : int
        Length of its vectors.
    modalities : tuple of str
        Modalities that meet in it.
    alignment : str
        Fingerprint of the alignment that makes its vectors out of those of other named vectors;
        empty where an encoder makes them.
    fused : str
        Digest of the fusion weights of its modalities, or of its encoders too, where these were
        changed since the space was made; empty before.
    """

    name: str
    dim: int
    modalities: tuple[Modality, ...]
    alignment: str = ""
    fused: str = ""

    @property
    def column(self) -> str:
        """The catalog column of its vectors; each alignment and fusion has one of its own."""
        return vector_column("_".join(filter(None, (self.name, self.alignment, self.fused))))


class EncoderStack:
    """Encoders that make one kind of item vector: what a new space is made for.

    Parameters
    ----------
    encoders : mapping of str to Encoder
        An encoder for each modality; the same object for modalities that share a space.
    weights : mapping of str to float, optional
        Fusion weight of each modality within a named vector, default 1.
    alignment : Alignment, optional
        What brings the vectors of different encoders together, in a named vector of its own.

    Raises
    ------
    FingerprintMismatch
        If the alignment was learned for other encoders.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, Encoder],
        weights: Mapping[Modality, float] | None = None,
        alignment: Alignment | None = None,
    ) -> None:
        self.encoders = dict(encoders)
        self.weights = {m: float((weights or {}).get(m, 1.0)) for m in self.encoders}
        self.named_vectors = _named_vectors(self.encoders)
        self.alignment = alignment
        if alignment is not None:
            alignment.require(self.encoders)
            self.named_vectors += (aligned_vector(alignment),)

    @property
    def components(self) -> dict[str, str]:
        """Everything that changes an item vector, by name."""
        named = {
            f"{modality}.{name}": value
            for modality, encoder in self.encoders.items()
            for name, value in encoder.components.items()
        }
        for named_vector in self.named_vectors:
            if len(named_vector.modalities) > 1:
                named |= {f"fusion.{m}": str(self.weights[m]) for m in named_vector.modalities}
        if self.alignment is not None:
            named[ALIGNMENT] = self.alignment.fingerprint
        return named

    @property
    def fingerprint(self) -> str:
        """Digest of `components`."""
        return digest_components(self.components)


def aligned_vector(alignment: Alignment) -> NamedVector:
    """Give the named vector of an alignment."""
    return NamedVector(ALIGNED, alignment.dim, alignment.modalities, alignment.fingerprint)


def named_vector_of(named_vectors: tuple[NamedVector, ...], modality: str) -> NamedVector:
    """Give the named vector of a modality's encoder, or raise `UnsupportedModality`."""
    for named_vector in named_vectors:
        if modality in named_vector.modalities:
            return named_vector
    known = ", ".join(m for named_vector in named_vectors for m in named_vector.modalities)
    raise UnsupportedModality(f"this space has no {modality} encoder, only {known}")


def _named_vectors(encoders: Mapping[Modality, Encoder]) -> tuple[NamedVector, ...]:
    sharing: dict[int, list[Modality]] = {}
    for modality in MODALITIES:
        if modality in encoders:
            encoders[modality].require(modality)
            sharing.setdefault(id(encoders[modality]), []).append(modality)
    return tuple(
        NamedVector(
            name=modalities[0] if len(modalities) == 1 else "joint",
            dim=encoders[modalities[0]].dim,
            modalities=tuple(modalities),
        )
        for modalities in sharing.values()
    )
