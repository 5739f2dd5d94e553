"""Query encoding: contents (text, image, audio) or a vector, into unit vectors of named vectors.

A single query raises an error where it cannot be encoded; of many queries, each bad one is noted
with its reason and stops no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.media import MediaStore, from_data_uri, is_data_uri, is_reference
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.decoding import check_decoded, decode
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import MaskedVectors, fuse
from isthmus.encoders.stack import NamedVector, named_vector_of
from isthmus.errors import InvalidInput, InvalidMedia, PartlyEncoded, UnsupportedModality
from isthmus.index.catalog.content_encoding import DECODING_THREADS, FILES_PER_BATCH, batched
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import MEDIA, TEXT, VECTOR, Modality

QueryVectors = dict[str, FloatArray]
"""Unit vector, shape (dim,), of each named vector that a query has."""


def query_contents(text: str | None, image: Any, audio: Any = None) -> dict[Modality, Any]:
    """Validate the contents of a query, and decode its files.

    Raises
    ------
    InvalidInput
        If there is nothing, or no such file.
    InvalidMedia
        If the image or the audio cannot be decoded.
    """
    contents: dict[Modality, Any] = {}
    if text is not None and text.strip():
        contents["text"] = text
    for modality, content in zip(MEDIA, (image, audio), strict=True):
        if content is not None:
            contents[modality] = _open(modality, content)
    if not contents:
        raise InvalidInput(
            "nothing to search for; give a text, an image, audio, a vector or items to be like"
        )
    return contents


def query_kind(contents: Mapping[str, Any]) -> str:
    """Return the kind of a query with some contents, or of items alone.

    Examples
    --------
    >>> query_kind({"text": "red boots", "image": None}), query_kind({})
    ('text to item', 'item to item')
    """
    modalities = [modality for modality, content in contents.items() if content is not None]
    return f"{modalities[0]} to item" if len(modalities) == 1 else "item to item"


def encode_query(
    settings: SpaceSettings,
    encoder_of: Callable[[Modality], Encoder],
    contents: Mapping[Modality, Any],
    alignment: Alignment | None = None,
    instruction: str | None = None,
) -> QueryVectors:
    """Encode contents as queries: a unit vector for each named vector that has their modalities.

    The instruction is for the text, see `Encoder.for_queries`.
    """
    one = np.ones(1, bool)
    require_text(contents, instruction)
    parts = {
        modality: MaskedVectors(
            encoder_of(modality).encode(
                [content], modality, "query", instruction if modality == TEXT else None
            ),
            one,
        )
        for modality, content in contents.items()
    }
    fused = fuse(settings.layout, settings.weights, parts, alignment)
    return {name: part.vectors[0] for name, part in fused.items() if part.present[0]}


def require_text(contents: Collection[str], instruction: str | None) -> None:
    """Raise `InvalidInput` if there is an instruction and no text that it is for."""
    if instruction is not None and TEXT not in contents:
        raise InvalidInput(
            "an instruction is for the text of a query; give a text, or leave it out"
        )


def vector_query(named_vectors: tuple[NamedVector, ...], vector: Any) -> QueryVectors:
    """Return a vector at unit norm, by the named vector whose dimension it has.

    Parameters
    ----------
    named_vectors : tuple of NamedVector
        The named vectors of the space.
    vector : array or mapping of str to array
        Shape (dim,) of one named vector, or vectors by name.

    Raises
    ------
    InvalidInput
        If it fits no named vector, or several, or holds no numbers, or is not finite, or zero.
    """
    if isinstance(vector, Mapping):
        return {
            name: vector_query(_called(named_vectors, name), one)[name]
            for name, one in vector.items()
        }
    values = _numbers(vector)
    fitting = [
        named_vector for named_vector in named_vectors if values.shape == (named_vector.dim,)
    ]
    if len(fitting) > 1:
        names = " and ".join(named_vector.name for named_vector in fitting)
        raise InvalidInput(
            f"vectors of {names} have {len(values)} numbers alike; say which this is: "
            f"vector={{{fitting[0].name!r}: [...]}}"
        )
    norm = math.sqrt(values @ values) if fitting else float(np.linalg.norm(values))
    if not fitting or not math.isfinite(norm) or norm == 0:
        shapes = " or ".join(f"({b.dim},) for {b.name}" for b in named_vectors)
        raise InvalidInput(
            f"vector of shape {values.shape} and norm {norm:g}; give a finite one of {shapes}"
        )
    return {fitting[0].name: values / np.float32(norm)}


def batch_queries(named_vectors: tuple[NamedVector, ...], vectors: Any) -> tuple[str, FloatArray]:
    """Return the named vector that vectors of shape (n, dim) fit, and them at unit norm.

    They may be a mapping of one name to vectors.

    Raises
    ------
    InvalidInput
        If they fit no named vector, or hold no numbers, or one of them is not finite, or zero; the
        message names it.
    """
    if isinstance(vectors, Mapping):
        if len(vectors) != 1:
            raise InvalidInput(f"vectors of {len(vectors)} names; give those of one")
        name, vectors = next(iter(vectors.items()))
        named_vectors = _called(named_vectors, name)
    values = _numbers(vectors)
    fitting = [
        named_vector
        for named_vector in named_vectors
        if values.ndim == 2 and values.shape[1] == named_vector.dim
    ]
    if len(fitting) != 1:
        shapes = " or ".join(f"(n, {b.dim}) for {b.name}" for b in named_vectors)
        raise InvalidInput(f"vectors of shape {values.shape}; give {shapes}")
    norms = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise InvalidInput(
            f"vector {bad[0]} has norm {norms[bad[0], 0]:g}; give finite vectors that are not zero"
        )
    return fitting[0].name, values / norms


def _numbers(vectors: Any) -> FloatArray:
    """Return vectors as float32, of any shape.

    Raises
    ------
    InvalidInput
        If they are no numbers, or lists of different lengths.
    """
    try:
        return np.asarray(vectors, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            f"a vector is not a list of numbers: {error}; encode texts and pictures first, "
            "or give them to `search`"
        ) from error


def _called(named_vectors: tuple[NamedVector, ...], name: str) -> tuple[NamedVector, ...]:
    """Return the named vector of a name alone."""
    named = tuple(named_vector for named_vector in named_vectors if named_vector.name == name)
    if not named:
        names = ", ".join(named_vector.name for named_vector in named_vectors)
        raise InvalidInput(f"no named vector {name!r} in this space; give one of: {names}")
    return named


def _open(modality: Modality, content: Any) -> Any:
    if isinstance(content, (str, Path)):
        if not Path(content).is_file():
            raise InvalidInput(f"no {modality} file {content}")
        return decode(modality, MediaStore(Path()).read(str(content)))
    if isinstance(content, bytes):
        return decode(modality, content)
    return check_decoded(modality, content)


@dataclass(eq=False)
class FileQuery:
    """One query of a file: its contents, then its vectors, or the reason why it has none.

    Attributes
    ----------
    contents : dict
        What it has of text, image, audio and vector.
    folder : Path or None
        What paths are relative to; None stands for the working folder.
    vectors : dict of str to numpy.ndarray
        Unit vector, shape (dim,), of each named vector that it has.
    reason : str
        Why it cannot be answered; empty if it can.
    """

    contents: dict[str, Any]
    folder: Path | None = None
    vectors: QueryVectors = field(default_factory=dict)
    reason: str = ""


_EncodedBatch = tuple[list[FileQuery], FloatArray]


class QueryEncoder:
    """Encodes the contents of many queries, a batch at a time.

    Parameters
    ----------
    settings : SpaceSettings
        The named vectors and the fusion weights of the space.
    encoder_of : callable
        Returns the encoder of a modality; called only for modalities that occur.
    media : MediaStore
        Reads files.
    alignment : Alignment, optional
        Makes the vectors of the settings' aligned named vector.
    instruction : str, optional
        What the texts ask for, see `Encoder.for_queries`.
    """

    def __init__(
        self,
        settings: SpaceSettings,
        encoder_of: Callable[[Modality], Encoder],
        media: MediaStore,
        alignment: Alignment | None = None,
        instruction: str | None = None,
    ) -> None:
        self._instruction = instruction
        self._alignment = alignment
        self._named_vectors = settings.layout
        self._weights = settings.weights
        self._encoder_of = encoder_of
        self._media = media

    def encode(self, queries: Sequence[FileQuery]) -> None:
        """Set the vectors of each query, or the reason why it has none."""
        for query in queries:
            try:
                self._validate(query)
            except (InvalidInput, UnsupportedModality) as error:
                query.reason = str(error)
        parts = self._collect(queries, "text", self._encode_texts(_having(queries, TEXT)))
        for modality in MEDIA:
            encoded = self._encode_files(modality, _having(queries, modality))
            parts |= self._collect(queries, modality, encoded)
        fused = fuse(self._named_vectors, self._weights, parts, self._alignment)
        for name, part in fused.items():
            for query, vector, present in zip(queries, part.vectors, part.present, strict=True):
                if present and not query.reason:
                    query.vectors[name] = vector

    def _validate(self, query: FileQuery) -> None:
        contents = query.contents
        if not contents:
            raise InvalidInput("nothing to search for; give a text, an image, audio or a vector")
        if VECTOR in contents:
            if len(contents) > 1:
                raise InvalidInput("search by a vector, or by text, image and audio, not by all")
            query.vectors = vector_query(self._named_vectors, _parse_vector(contents[VECTOR]))
        for modality in contents.keys() - {VECTOR}:
            named_vector_of(self._named_vectors, modality)

    def _encode_texts(self, queries: list[FileQuery]) -> Iterator[_EncodedBatch]:
        """Encode texts; what a remote encoder refuses is noted with its reason.

        Raises
        ------
        PartlyEncoded
            If a remote encoder answers no more.
        """
        if not queries:
            return
        texts = [query.contents[TEXT] for query in queries]
        try:
            yield queries, self._encoder_of(TEXT).encode(texts, TEXT, "query", self._instruction)
        except PartlyEncoded as error:
            if error.is_over:
                raise
            for at, why in error.refused.items():
                queries[at].reason = why
            if error.vectors:
                done = sorted(error.vectors)
                yield [queries[at] for at in done], np.stack([error.vectors[at] for at in done])

    def _encode_files(
        self, modality: Modality, queries: list[FileQuery]
    ) -> Iterator[_EncodedBatch]:
        """Decode and encode files, few at a time: a decoded one takes megabytes."""
        with ThreadPoolExecutor(DECODING_THREADS) as decoders:
            for batch in batched(queries, FILES_PER_BATCH[modality]):
                decoded = list(decoders.map(partial(self._decode, modality), batch))
                good = [query for query in batch if not query.reason]
                if good:
                    contents = [content for content in decoded if content is not None]
                    yield good, self._encoder_of(modality).encode(contents, modality, "query")

    def _decode(self, modality: Modality, query: FileQuery) -> Any:
        """Decode a file of a query; None, with the reason noted, if that is impossible."""
        try:
            return decode(modality, self._read(query.contents[modality], query.folder))
        except InvalidMedia as error:
            query.reason = str(error)
            return None

    def _read(self, reference: str | bytes, folder: Path | None) -> bytes:
        if isinstance(reference, bytes):
            return reference
        if is_data_uri(reference):
            return from_data_uri(reference)
        if is_reference(reference):
            return self._media.read(reference)
        return self._media.read(str((folder or Path()) / reference.removeprefix("file://")))

    def _collect(
        self, queries: Sequence[FileQuery], modality: Modality, encoded: Iterator[_EncodedBatch]
    ) -> dict[Modality, MaskedVectors]:
        """Put the vectors of one modality at its queries, shape (n_queries, dim)."""
        place = {id(query): at for at, query in enumerate(queries)}
        batches = [([place[id(query)] for query in batch], vectors) for batch, vectors in encoded]
        if not batches:
            return {}
        dim = named_vector_of(self._named_vectors, modality).dim
        out = MaskedVectors(np.zeros((len(queries), dim), np.float32), np.zeros(len(queries), bool))
        for places, vectors in batches:
            out.vectors[places], out.present[places] = vectors, True
        return {modality: out}


def _having(queries: Sequence[FileQuery], content: str) -> list[FileQuery]:
    return [query for query in queries if not query.reason and content in query.contents]


def _parse_vector(vector: Any) -> FloatArray:
    """Read a vector from a list of numbers, or from the text of one, as in a CSV file."""
    try:
        values = json.loads(vector) if isinstance(vector, str) else vector
        return np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("the vector is no list of numbers") from error
