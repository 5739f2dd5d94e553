"""The encoder contract: content of one modality in, unit vectors out.

Contents have a role: items are documents, and what a user types or shows is a query. Models that
were trained with prompts encode the two differently; their vectors are made to be compared.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np

from isthmus.encoders.text import check_texts, cut_text
from isthmus.errors import InvalidInput, UnsupportedModality
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

Role = Literal["document", "query"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


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
    nested : bool
        Whether the model says that it was trained so that the first values of a vector stand for
        all (Matryoshka).
    """

    spec: str
    modalities: frozenset[Modality]
    dim: int
    nested: bool = False

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

    def for_queries(self, instruction: str | None = None) -> Encoder:
        """Return the encoder of queries: itself, unless queries are encoded unlike documents.

        Its fingerprint is that of the encoder of documents, and the vectors of the two are
        compared.

        Parameters
        ----------
        instruction : str, optional
            What to search for, in a sentence, for models that are trained to follow one; it takes
            the place of the model's own.

        Raises
        ------
        InvalidInput
            If the model follows no instructions.
        """
        if instruction is not None:
            raise InvalidInput(
                f"the encoder {self.spec!r} follows no instruction: its prompt for queries has no "
                "place for one; leave instruction out, or give it a prompt with {instruction} in "
                "it, by query_prompt (--query-prompt)"
            )
        return self

    def set_prompts(self, prompts: Mapping[str, str]) -> None:
        """Replace prompts of texts.

        Parameters
        ----------
        prompts : mapping of str to str
            The prompts of ``query`` and ``document``, or of one of them.

        Raises
        ------
        InvalidInput
            If the encoder takes no prompts, or one of them is not valid.
        """
        del prompts
        raise InvalidInput(
            f"the encoder {self.spec!r} takes no prompts: its vectors of queries and documents are "
            "the same; leave query_prompt and document_prompt out"
        )

    @abstractmethod
    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Run the model over prepared values, in batches of a size that suits it.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(prepared), dim), rows of unit norm, in the order of `prepared`.
        """

    def encode(
        self,
        batch: Sequence[Any],
        modality: Modality = "text",
        role: Role = "document",
        instruction: str | None = None,
    ) -> FloatArray:
        """Turn content into vectors.

        Parameters
        ----------
        batch : sequence of str, of PIL.Image.Image, or of Waveform
            Texts, images in any mode, or audio at any sampling rate.
        modality : {"text", "image", "audio"}, default "text"
            Modality of the batch.
        role : {"document", "query"}, default "document"
            Items are documents; searches, and the sentences that users are known by, are queries.
        instruction : str, optional
            What the queries ask for; see `for_queries`.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(batch), dim), rows of unit norm.

        Raises
        ------
        UnsupportedModality
            If the encoder does not take this modality.
        InvalidInput
            If the role is unknown, a text is none or cannot be written in UTF-8, or the model
            follows no instruction.
        """
        self.require(modality)
        encoder = self._in_role(role, instruction)
        if len(batch) == 0:
            return np.empty((0, self.dim), np.float32)
        if modality == "text":
            check_texts(batch)
        return encoder._encode(batch, modality)

    def _encode(self, batch: Sequence[Any], modality: Modality) -> FloatArray:
        """Turn checked content into vectors."""
        if modality == "text":
            batch = [cut_text(text) for text in batch]
        return self.embed(self.prepare(batch, modality), modality)

    def _in_role(self, role: Role, instruction: str | None) -> Encoder:
        if role == "query":
            return self.for_queries(instruction)
        if role not in ROLES:
            raise InvalidInput(f"unknown role {role!r}; use one of {', '.join(ROLES)}")
        if instruction is not None:
            raise InvalidInput("an instruction is for queries; give role='query' with it")
        return self

    def require(self, modality: Modality) -> None:
        """Raise `UnsupportedModality` unless the encoder takes this modality."""
        if modality not in self.modalities:
            raise UnsupportedModality(
                f"encoder {self.spec!r} takes {', '.join(sorted(self.modalities))}, "
                f"not {modality}; "
                f"give one that takes {modality}"
            )
