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
import threading

from isthmus.encoders.registry import load_encoder
from isthmus.errors import FingerprintMismatch, UnknownEncoder

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
    variant : str
        Digest of the fusion weights of its modalities, or also of its encoders, if these changed
        since the space was created; empty otherwise.
    """

    name: str
    dim: int
    modalities: tuple[Modality, ...]
    alignment: str = ""
    variant: str = ""

    @property
    def column(self) -> str:
        """The catalog column of its vectors; each alignment and fusion has one of its own."""
        return vector_column("_".join(filter(None, (self.name, self.alignment, self.variant))))


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


class LazyEncoders:
    """The encoders of a space; calling it with a modality gives that modality's encoder.

    Loading takes seconds, so an encoder is loaded when it is first asked for, and modalities of
    one spec share one. It computes in the precision that the space recorded, and its
    components must be those recorded too.

    Parameters
    ----------
    specs : mapping of str to str
        Spec of each modality's encoder.
    components : mapping of str to str
        What the space recorded: ``text.weights`` and so on.
    given : mapping of str to Encoder, optional
        Encoders in place of loaded ones.
    device : str
        Where loaded encoders run.

    Raises
    ------
    FingerprintMismatch
        If a given encoder is not the one that made the space; the message names what differs.
    """

    def __init__(
        self,
        specs: Mapping[Modality, str],
        components: Mapping[str, str],
        given: Mapping[Modality, Encoder] | None = None,
        *,
        device: str = "auto",
    ) -> None:
        self._specs = dict(specs)
        self._components = dict(components)
        self._device = device
        self._ready: dict[Modality, Encoder] = {}
        self._loading = threading.Lock()
        for modality, encoder in (given or {}).items():
            self._accept(modality, encoder)

    def __call__(self, modality: Modality) -> Encoder:
        """Give the encoder of a modality.

        Raises
        ------
        UnsupportedModality
            If the space has none for it.
        UnknownEncoder
            If it cannot be loaded; the message says how the space learns where it is now.
        FingerprintMismatch
            If what is loaded now is not what made the space.
        """
        if modality not in self._specs:
            raise UnsupportedModality(
                f"this space has no {modality} encoder, only {', '.join(self._specs)}"
            )
        with self._loading:
            if modality not in self._ready:
                encoder = self._load(modality)
                spec = self._specs[modality]
                for sharing in [m for m, other in self._specs.items() if other == spec]:
                    self._accept(sharing, encoder)
        return self._ready[modality]

    def _load(self, modality: Modality) -> Encoder:
        precision = self._components.get(f"{modality}.precision", "auto")
        try:
            return load_encoder(self._specs[modality], device=self._device, precision=precision)
        except UnknownEncoder as error:
            raise UnknownEncoder(
                f"{error}. This space was made with it; if it lies elsewhere now, say where, and "
                f"nothing is encoded anew: isthmus reembed --{modality}-encoder SPEC"
            ) from error

    def _accept(self, modality: Modality, encoder: Encoder) -> None:
        prefix = f"{modality}."
        present = {prefix + name: value for name, value in encoder.components.items()}
        recorded = {n: v for n, v in self._components.items() if n.startswith(prefix)}
        if present != recorded:
            raise FingerprintMismatch(
                f"the encoder differs from the one that made this space: "
                f"{describe_difference(recorded, present)}. Vectors of the two cannot be "
                "compared; use the space's own encoder, or build a new space with this one"
            )
        self._ready[modality] = encoder


def describe_difference(recorded: Mapping[str, str], present: Mapping[str, str]) -> str:
    """Name each component that differs.

    Examples
    --------
    >>> describe_difference({"text.pooling": "mean"}, {"text.pooling": "cls"})
    "text.pooling was 'mean' and is 'cls'"
    """
    names = sorted({*recorded, *present})
    changes = [
        f"{name} was {recorded.get(name)!r} and is {present.get(name)!r}"
        for name in names
        if recorded.get(name) != present.get(name)
    ]
    return "; ".join(changes)
