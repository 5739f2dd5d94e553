"""Recorded encoders: those that made a space, loaded when first needed and checked then."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder
from isthmus.errors import FingerprintMismatch, UnknownEncoder, UnsupportedModality
from isthmus.schema import Modality


class RecordedEncoders:
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
