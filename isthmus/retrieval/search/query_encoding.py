"""Query vectors: what a user looks for, in the named vectors of a space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.media import DATA_URI, STORED, MediaStore, from_data_uri
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.decoding import check_decoded, decode
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import MaskedVectors, fuse
from isthmus.encoders.stack import NamedVector, named_vector_of
from isthmus.errors import InvalidInput, InvalidMedia, UnsupportedModality
from isthmus.index.catalog.content_encoding import DECODERS, FILES_A_BATCH, batched
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import MEDIA, TEXT, VECTOR, Modality

QueryVectors = dict[str, FloatArray]


def query_contents(text: str | None, image: Any, audio: Any = None) -> dict[Modality, Any]:
    """Check what is looked for, and decode its files.

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
    for modality, given in zip(MEDIA, (image, audio), strict=True):
        if given is not None:
            contents[modality] = _open(modality, given)
    if not contents:
        raise InvalidInput(
            "nothing to search for; give a text, an image, audio, a vector or items to be like"
        )
    return contents


def query_kind(contents: Mapping[str, Any]) -> str:
    """Name the kind of a query that holds some contents, or items alone.

    Examples
    --------
    >>> kind_of({"text": "red boots", "image": None}), kind_of({})
    ('text to item', 'item to item')
    """
    given = [modality for modality, content in contents.items() if content is not None]
    return f"{given[0]} to item" if len(given) == 1 else "item to item"


def encode_query(
    settings: SpaceSettings,
    encoder_of: Callable[[Modality], Encoder],
    contents: Mapping[Modality, Any],
    alignment: Alignment | None = None,
) -> QueryVectors:
    """Encode contents into a unit vector for each named vector they speak to, shape (dim,)."""
    one = np.ones(1, bool)
    parts = {
        modality: MaskedVectors(encoder_of(modality).encode([content], modality), one)
        for modality, content in contents.items()
    }
    fused = fuse(settings.layout, settings.fusion, parts, alignment)
    return {name: part.vectors[0] for name, part in fused.items() if part.present[0]}


def vector_query(named_vectors: tuple[NamedVector, ...], vector: Any) -> QueryVectors:
    """Take a vector as it is given, at unit norm, for the named vector whose length it has.

    Raises
    ------
    InvalidInput
        If it fits no named vector, or is not finite, or zero.
    """
    values = np.asarray(vector, np.float32)
    fitting = [
        named_vector for named_vector in named_vectors if values.shape == (named_vector.dim,)
    ]
    norm = float(np.linalg.norm(values))
    if len(fitting) != 1 or not np.isfinite(norm) or norm == 0:
        wanted = " or ".join(f"({b.dim},) for {b.name}" for b in named_vectors)
        raise InvalidInput(
            f"vector of shape {values.shape} and norm {norm:g}; give a finite one of {wanted}"
        )
    return {fitting[0].name: values / np.float32(norm)}


def batch_queries(named_vectors: tuple[NamedVector, ...], vectors: Any) -> tuple[str, FloatArray]:
    """Take vectors of shape (n, dim) as given, at unit norm, and name the named vector they fit.

    Raises
    ------
    InvalidInput
        If they fit no named vector, or one of them is not finite, or zero; the message names it.
    """
    values = np.asarray(vectors, np.float32)
    fitting = [
        named_vector
        for named_vector in named_vectors
        if values.ndim == 2 and values.shape[1] == named_vector.dim
    ]
    if len(fitting) != 1:
        wanted = " or ".join(f"(n, {b.dim}) for {b.name}" for b in named_vectors)
        raise InvalidInput(f"vectors of shape {values.shape}; give {wanted}")
    norms = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise InvalidInput(
            f"vector {bad[0]} has norm {norms[bad[0], 0]:g}; give finite vectors that are not zero"
        )
    return fitting[0].name, values / norms


def _open(modality: Modality, given: Any) -> Any:
    if isinstance(given, (str, Path)):
        if not Path(given).is_file():
            raise InvalidInput(f"no {modality} file {given}")
        return decode(modality, MediaStore(Path()).read(str(given)))
    if isinstance(given, bytes):
        return decode(modality, given)
    return check_decoded(modality, given)


Encoded = tuple[list["FileQuery"], FloatArray]


@dataclass(eq=False)
class FileQuery:
    """One query of many: what it holds, then its vectors, or what is wrong with it.

    Attributes
    ----------
    contents : dict
        What it holds of text, image, audio and vector.
    folder : Path or None
        What paths are relative to; None stands for the working folder.
    vectors : dict of str to numpy.ndarray
        Unit vector, shape (dim,), for each named vector it speaks to.
    reason : str
        Why it cannot be answered; empty if it can.
    """

    contents: dict[str, Any]
    folder: Path | None = None
    vectors: QueryVectors = field(default_factory=dict)
    reason: str = ""


class QueryEncoder:
    """Turns the contents of many queries into vectors, a batch at a time.

    Parameters
    ----------
    settings : SpaceSettings
        The named vectors and the fusion weights of the space.
    encoder_of : callable
        Gives the encoder of a modality; called only for modalities that are asked for.
    media : MediaStore
        Reads files.
    alignment : Alignment, optional
        What the settings' aligned named vector is made by.
    """

    def __init__(
        self,
        settings: SpaceSettings,
        encoder_of: Callable[[Modality], Encoder],
        media: MediaStore,
        alignment: Alignment | None = None,
    ) -> None:
        self._alignment = alignment
        self._named_vectors = settings.layout
        self._weights = settings.fusion
        self._encoder_of = encoder_of
        self._media = media

    def encode(self, queries: Sequence[FileQuery]) -> None:
        """Give each query its vectors, or the reason why it has none."""
        for query in queries:
            try:
                self._check(query)
            except (InvalidInput, UnsupportedModality) as error:
                query.reason = str(error)
        parts = self._look_up(queries, "text", self._texts(_holding(queries, TEXT)))
        for modality in MEDIA:
            files = self._files(modality, _holding(queries, modality))
            parts |= self._look_up(queries, modality, files)
        fused = fuse(self._named_vectors, self._weights, parts, self._alignment)
        for name, part in fused.items():
            for query, vector, there in zip(queries, part.vectors, part.present, strict=True):
                if there and not query.reason:
                    query.vectors[name] = vector

    def _check(self, query: FileQuery) -> None:
        held = query.contents
        if not held:
            raise InvalidInput("nothing to search for; give a text, an image, audio or a vector")
        if VECTOR in held:
            if len(held) > 1:
                raise InvalidInput("search by a vector, or by text, image and audio, not by all")
            query.vectors = vector_query(self._named_vectors, _numbers(held[VECTOR]))
        for modality in held.keys() - {VECTOR}:
            named_vector_of(self._named_vectors, modality)

    def _texts(self, queries: list[FileQuery]) -> Iterator[Encoded]:
        if queries:
            texts = [query.contents[TEXT] for query in queries]
            yield queries, self._encoder_of("text").encode(texts, "text")

    def _files(self, modality: Modality, queries: list[FileQuery]) -> Iterator[Encoded]:
        """Decode and encode files, few at a time: a decoded one takes megabytes."""
        with ThreadPoolExecutor(DECODERS) as decoders:
            for part in batched(queries, FILES_A_BATCH[modality]):
                opened = list(decoders.map(partial(self._open, modality), part))
                good = [query for query in part if not query.reason]
                if good:
                    decoded = [content for content in opened if content is not None]
                    yield good, self._encoder_of(modality).encode(decoded, modality)

    def _open(self, modality: Modality, query: FileQuery) -> Any:
        """Decode a file of a query; None, and the reason noted, if that cannot be done."""
        try:
            return decode(modality, self._read(query.contents[modality], query.folder))
        except InvalidMedia as error:
            query.reason = str(error)
            return None

    def _read(self, given: str | bytes, folder: Path | None) -> bytes:
        if isinstance(given, bytes):
            return given
        if given.startswith(DATA_URI):
            return from_data_uri(given)
        if given.startswith((STORED, "http://", "https://")):
            return self._media.read(given)
        return self._media.read(str((folder or Path()) / given.removeprefix("file://")))

    def _look_up(
        self, queries: Sequence[FileQuery], modality: Modality, encoded: Iterator[Encoded]
    ) -> dict[Modality, MaskedVectors]:
        """Put the vectors of one modality in the places of their queries."""
        place = {id(query): i for i, query in enumerate(queries)}
        parts = [([place[id(query)] for query in some], vectors) for some, vectors in encoded]
        if not parts:
            return {}
        dim = named_vector_of(self._named_vectors, modality).dim
        out = MaskedVectors(np.zeros((len(queries), dim), np.float32), np.zeros(len(queries), bool))
        for places, vectors in parts:
            out.vectors[places], out.present[places] = vectors, True
        return {modality: out}


def _holding(queries: Sequence[FileQuery], content: str) -> list[FileQuery]:
    return [query for query in queries if not query.reason and content in query.contents]


def _numbers(vector: Any) -> FloatArray:
    """Take a vector as a list of numbers, or as the text of one, as a CSV has it."""
    try:
        values = json.loads(vector) if isinstance(vector, str) else vector
        return np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidInput("the vector is no list of numbers") from error
