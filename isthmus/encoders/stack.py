"""The encoders of a space: a stack for a new space, lazily loaded encoders for an existing one.

An item vector consists of named vectors and a mask of those that are present. An encoder of several
modalities forms one named vector, which the modalities share. Encoders of one modality form one
named vector each, and their vectors cannot be compared, unless an alignment adds a named vector
that they share. A query is answered from the named vectors that it has.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import Encoder, digest_components
from isthmus.encoders.registry import AGREEING_FAMILIES, load_encoder, parse_spec
from isthmus.errors import (
    FingerprintMismatch,
    InvalidInput,
    UnknownEncoder,
    UnsupportedModality,
    command_in,
    commands_for_another_space,
)
from isthmus.forking import renew_lock
from isthmus.schema import MODALITIES, Modality, vector_column

TRUST_VARIABLE: Final = "ISTHMUS_TRUST_REMOTE_CODE"
ALIGNED: Final = "aligned"
ALIGNMENT: Final = "alignment"
GIVEN_PREFIX: Final = "vectors."  # of the components of named vectors whose vectors are given
MAX_GIVEN_DIM: Final = 65_536
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class NamedVector:
    """A part of the item vector with a space of its own.

    Attributes
    ----------
    name : str
        The modality, ``joint`` where one encoder serves several modalities, or ``aligned`` for the
        vectors of an alignment.
    dim : int
        Length of its vectors.
    modalities : tuple of str
        Modalities that share it.
    alignment : str
        Fingerprint of the alignment that projects other named vectors into this one; empty if an
        encoder makes the vectors.
    variant : str
        Digest of the fusion weights of its modalities, and of its encoders, if these changed
        since the space was created; empty otherwise.
    given : bool
        Whether the vectors of items are given with them. Its modalities are then those that
        queries are encoded from; there may be none.
    """

    name: str
    dim: int
    modalities: tuple[Modality, ...]
    alignment: str = ""
    variant: str = ""
    given: bool = False

    @property
    def column(self) -> str:
        """The catalog column of its vectors; it differs per alignment and fusion."""
        return vector_column("_".join(filter(None, (self.name, self.alignment, self.variant))))


class EncoderStack:
    """The encoders, fusion weights and alignment of a new space.

    Parameters
    ----------
    encoders : mapping of str to Encoder
        An encoder for each modality; the same object for modalities that share a space.
    weights : mapping of str to float, optional
        Fusion weight of each modality within a named vector, default 1.
    alignment : Alignment, optional
        Projects the vectors of different encoders into one more named vector.
    given : mapping of str to int, optional
        Length of the vectors, by name, of the named vectors whose vectors are given with the items.
        One that is called as a named vector of the encoders takes its place: queries are encoded,
        items are not.

    Raises
    ------
    FingerprintMismatch
        If the alignment was trained for other encoders.
    InvalidInput
        If a given vector has no valid name or length, or another length than its encoder.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, Encoder],
        weights: Mapping[Modality, float] | None = None,
        alignment: Alignment | None = None,
        given: Mapping[str, int] | None = None,
    ) -> None:
        self.encoders = dict(encoders)
        self.weights = {m: float((weights or {}).get(m, 1.0)) for m in self.encoders}
        self.named_vectors = _with_given(_named_vectors(self.encoders), given or {})
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
            if named_vector.given:
                named |= given_components(named_vector.name, named_vector.dim)
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
    """Return the named vector of an alignment."""
    return NamedVector(ALIGNED, alignment.dim, alignment.modalities, alignment.fingerprint)


def given_components(name: str, dim: int) -> dict[str, str]:
    """Return what identifies a named vector whose vectors are given: its name and length."""
    return {f"{GIVEN_PREFIX}{name}": str(dim)}


def given_vector(name: str, dim: int) -> NamedVector:
    """Return a named vector whose vectors are given, and which no query is encoded for.

    Raises
    ------
    InvalidInput
        If the name or the length is not valid.
    """
    if not _NAME.fullmatch(name) or name == ALIGNED:
        raise InvalidInput(
            f"a named vector cannot be called {name!r}; give a letter and then letters, digits, "
            f"_ or - (and not {ALIGNED!r})"
        )
    if isinstance(dim, bool) or not isinstance(dim, int) or not 0 < dim <= MAX_GIVEN_DIM:
        raise InvalidInput(
            f"the length of named vector {name!r} is {dim!r}; give a whole number from 1 to "
            f"{MAX_GIVEN_DIM}"
        )
    return NamedVector(name, dim, (), given=True)


def named_vector_of(named_vectors: tuple[NamedVector, ...], modality: str) -> NamedVector:
    """Return the named vector of a modality's encoder, or raise `UnsupportedModality`."""
    for named_vector in named_vectors:
        if modality in named_vector.modalities:
            return named_vector
    raise UnsupportedModality(_no_encoder(named_vectors, modality))


def _no_encoder(named_vectors: tuple[NamedVector, ...], modality: str) -> str:
    known = list(dict.fromkeys(m for vector in named_vectors for m in vector.modalities))
    if known:
        return f"this space has no {modality} encoder, only {', '.join(known)}"
    given = ", ".join(f"{v.name} ({v.dim} numbers)" for v in named_vectors) or "none yet"
    dim = named_vectors[0].dim if len(named_vectors) == 1 else "DIM"
    return (
        f"this space has no {modality} encoder: its vectors are given ({given}). Search by "
        "vector, by like or similar; or make another space, whose encoder of queries is the model "
        f"that made the vectors: {commands_for_another_space(modality, dim)}"
    )


def _with_given(
    encoded: tuple[NamedVector, ...], given: Mapping[str, int]
) -> tuple[NamedVector, ...]:
    """Return named vectors, those with a given name marked as given, and the other given ones."""
    checked = {name: given_vector(name, dim) for name, dim in given.items()}
    for vector in encoded:
        if vector.name in checked and checked[vector.name].dim != vector.dim:
            raise InvalidInput(
                f"the vectors given for {vector.name!r} have {checked[vector.name].dim} numbers, "
                f"and those of its encoder {vector.dim}: they are of another model; give the "
                "encoder that made them, or another name"
            )
    replaced = tuple(replace(v, given=True) if v.name in checked else v for v in encoded)
    names = {vector.name for vector in encoded}
    return replaced + tuple(vector for name, vector in checked.items() if name not in names)


def _named_vectors(encoders: Mapping[Modality, Encoder]) -> tuple[NamedVector, ...]:
    modalities_of: dict[int, list[Modality]] = {}
    for modality in MODALITIES:
        if modality in encoders:
            encoders[modality].require(modality)
            modalities_of.setdefault(id(encoders[modality]), []).append(modality)
    return tuple(
        NamedVector(
            name=modalities[0] if len(modalities) == 1 else "joint",
            dim=encoders[modalities[0]].dim,
            modalities=tuple(modalities),
        )
        for modalities in modalities_of.values()
    )


class LazyEncoders:
    """The encoders of an existing space: a callable from a modality to its encoder.

    Loading takes seconds, so an encoder is loaded at its first use. Modalities with the same spec
    share one encoder. It computes in the precision that the space recorded, and its components
    must equal the recorded ones.

    Parameters
    ----------
    specs : mapping of str to str
        Spec of each modality's encoder.
    components : mapping of str to str
        Recorded components of the space: ``text.weights`` and so on.
    loaded : mapping of str to Encoder, optional
        Encoders that are loaded already.
    device : str
        Device of the encoders that are loaded here.

    Raises
    ------
    FingerprintMismatch
        If a loaded encoder differs from the one that made the space; the message names the
        components that differ.
    """

    def __init__(
        self,
        specs: Mapping[Modality, str],
        components: Mapping[str, str],
        loaded: Mapping[Modality, Encoder] | None = None,
        *,
        device: str = "auto",
    ) -> None:
        self._specs = dict(specs)
        self._components = dict(components)
        self._device = device
        self._loaded: dict[Modality, Encoder] = {}
        self._lock = threading.Lock()
        renew_lock(self)
        self._given = dict(loaded or {})
        for modality, encoder in self._given.items():
            self._accept(modality, encoder)

    def __call__(self, modality: Modality) -> Encoder:
        """Return the encoder of a modality, loaded if need be.

        Raises
        ------
        UnsupportedModality
            If the space has none for it.
        UnknownEncoder
            If it cannot be loaded; the message says how to tell the space its new location.
        FingerprintMismatch
            If the loaded encoder differs from the one that made the space.
        """
        if modality not in self._specs:
            only = f", only {', '.join(self._specs)}" if self._specs else "; search by vector"
            raise UnsupportedModality(f"this space has no {modality} encoder{only}")
        with self._lock:
            if modality not in self._loaded:
                encoder = self._load(modality)
                spec = self._specs[modality]
                for sharing in [m for m, other in self._specs.items() if other == spec]:
                    self._accept(sharing, encoder)
        return self._loaded[modality]

    @property
    def given(self) -> dict[Modality, Encoder]:
        """The encoders that were given, and not loaded by their specs."""
        return dict(self._given)

    def _load(self, modality: Modality) -> Encoder:
        spec = self._specs[modality]
        require_trust(spec)
        precision = self._components.get(f"{modality}.precision", "auto")
        if precision == "fp32" and parse_spec(spec).family in AGREEING_FAMILIES:
            precision = "auto"  # whatever agrees with float32 has its fingerprint
        try:
            return load_encoder(spec, device=self._device, precision=precision)
        except UnknownEncoder as error:
            raise UnknownEncoder(
                f"{error}. This space was made with it; if it lies elsewhere now, say where, and "
                f"nothing is encoded anew: {command_in(None, f'reembed --{modality}-encoder SPEC')}"
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
        self._loaded[modality] = encoder


def require_trust(spec: str) -> None:
    """Raise `UnknownEncoder` if a space, which somebody else may have made, asks to run code."""
    wants_code = parse_spec(spec).options.get("trust_remote_code") == "true"
    if wants_code and os.environ.get(TRUST_VARIABLE) != "1":
        raise UnknownEncoder(
            f"the encoder {spec!r} runs Python code of its own; a space is not trusted to start "
            f"it: set {TRUST_VARIABLE}=1 if you have read and trust the code"
        )


def describe_difference(recorded: Mapping[str, str], present: Mapping[str, str]) -> str:
    """Return a sentence that names each component that differs.

    Examples
    --------
    >>> describe_difference({"text.pooling": "mean"}, {"text.pooling": "cls"})
    "text.pooling was 'mean' and is 'cls'"
    """
    changes = [
        f"{name} was {recorded.get(name)!r} and is {present.get(name)!r}"
        for name in sorted({*recorded, *present})
        if recorded.get(name) != present.get(name)
    ]
    return "; ".join(changes)
