"""The encoder contract: content of one modality in, unit vectors out."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isthmus.encoders.text import cut_text
from isthmus.errors import UnsupportedModality
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality


def digest_components(components: Mapping[str, str]) -> str:
    """Digest named components into a short fingerprint (16 hexadecimal digits).

    Examples
    --------
    >>> digest_components({"weights": "a"}) == digest_components({"weights": "b"})
    False
    """
    canonical = json.dumps(dict(sorted(components.items())), separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


class Encoder(ABC):
    """Turns text, images or audio into L2-normalised float32 vectors.

    A subclass defines `spec`, `modalities`, `dim`, `components` and `embed`. It overrides
    `prepare` where content needs work that can run beside the model: tokenising, resizing,
    resampling.

    Attributes
    ----------
    spec : str
        The argument of `load_encoder` that loads the encoder again; its paths are absolute.
    modalities : frozenset of str
        Modalities that the encoder takes. The vectors of all of them share one space.
    dim : int
        Length of a vector.
    """

    spec: str
    modalities: frozenset[Modality]
    dim: int

    @property
    @abstractmethod
    def components(self) -> Mapping[str, str]:
        """Everything that changes a vector, by name: model, weights, preprocessing, pooling."""

    @property
    def fingerprint(self) -> str:
        """Digest of `components`: encoders with the same fingerprint return the same vectors."""
        return digest_components(self.components)

    def prepare(self, batch: Sequence[Any], modality: Modality) -> list[Any]:
        """Do the work that needs no model; called from several threads at once.

        Parameters
        ----------
        batch : sequence of str, of PIL.Image.Image, or of Waveform
            Texts, decoded RGB images, or decoded audio.
        modality : {"text", "image", "audio"}
            Modality of the batch.

        Returns
        -------
        list
            One prepared value per element, in order, for `embed`.
        """
        del modality
        return list(batch)

    def are_truncated(self, prepared: Sequence[Any], modality: Modality) -> list[bool]:
        """Return which prepared contents fill the input of the model: their end is cut off.

        A text of exactly as many tokens as the model takes counts too.
        """
        del modality
        return [False] * len(prepared)

    @abstractmethod
    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the model over prepared values, in batches of a size that suits it.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm, in the order of `prepared`.
        """

    def encode(self, batch: Sequence[Any], modality: Modality = "text") -> FloatArray:
        """Turn content into vectors.

        Parameters
        ----------
        batch : sequence of str, of PIL.Image.Image, or of Waveform
            Texts, images in any mode, or audio at any sampling rate.
        modality : {"text", "image", "audio"}, default "text"
            Modality of the batch.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(batch), dim), rows of unit norm.

        Raises
        ------
        UnsupportedModality
            If the encoder does not take this modality.
        """
        self.require(modality)
        if len(batch) == 0:
            return np.empty((0, self.dim), np.float32)
        if modality == "text":
            batch = [cut_text(text) for text in batch]
        return self.embed(self.prepare(batch, modality), modality)

    def require(self, modality: Modality) -> None:
        """Raise `UnsupportedModality` unless the encoder takes this modality."""
        if modality not in self.modalities:
            raise UnsupportedModality(
                f"encoder {self.spec!r} takes {', '.join(sorted(self.modalities))}, "
                f"not {modality}; "
                f"give one that takes {modality}"
            )
