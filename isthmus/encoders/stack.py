"""The encoder stack: the encoders of a space and the blocks their vectors form.

One encoder for several modalities gives one block, in which they meet. Different encoders give
a block each: the item vector is the blocks side by side with a mask, and a query is answered
from the blocks it has. Text and image of different encoders are compared only in the block of an
alignment, which stands beside theirs.
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
class Block:
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
        Fingerprint of the alignment that makes its vectors out of those of other blocks; empty
        where an encoder makes them.
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
        Fusion weight of each modality within a block, default 1.
    alignment : Alignment, optional
        What brings the vectors of different encoders together, in a block of its own.

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
        self.blocks = _blocks(self.encoders)
        self.alignment = alignment
        if alignment is not None:
            alignment.require(self.encoders)
            self.blocks += (aligned_block(alignment),)

    @property
    def components(self) -> dict[str, str]:
        """Everything that changes an item vector, by name."""
        named = {
            f"{modality}.{name}": value
            for modality, encoder in self.encoders.items()
            for name, value in encoder.components.items()
        }
        for block in self.blocks:
            if len(block.modalities) > 1:
                named |= {f"fusion.{m}": str(self.weights[m]) for m in block.modalities}
        if self.alignment is not None:
            named[ALIGNMENT] = self.alignment.fingerprint
        return named

    @property
    def fingerprint(self) -> str:
        """Digest of `components`."""
        return digest_components(self.components)


def aligned_block(alignment: Alignment) -> Block:
    """Give the block of an alignment."""
    return Block(ALIGNED, alignment.dim, alignment.modalities, alignment.fingerprint)


def block_of(blocks: tuple[Block, ...], modality: str) -> Block:
    """Give the block of a modality's encoder, or raise `UnsupportedModality`."""
    for block in blocks:
        if modality in block.modalities:
            return block
    known = ", ".join(m for block in blocks for m in block.modalities)
    raise UnsupportedModality(f"this space has no {modality} encoder, only {known}")


def _blocks(encoders: Mapping[Modality, Encoder]) -> tuple[Block, ...]:
    sharing: dict[int, list[Modality]] = {}
    for modality in MODALITIES:
        if modality in encoders:
            encoders[modality].require(modality)
            sharing.setdefault(id(encoders[modality]), []).append(modality)
    return tuple(
        Block(
            name=modalities[0] if len(modalities) == 1 else "joint",
            dim=encoders[modalities[0]].dim,
            modalities=tuple(modalities),
        )
        for modalities in sharing.values()
    )
