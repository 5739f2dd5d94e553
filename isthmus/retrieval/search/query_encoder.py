"""Many queries at once: encoded in batches, and none stopped by a bad one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data.media import DATA_URI, STORED, MediaStore, from_data_uri
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.decoding import decode
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import BlockVectors, fuse
from isthmus.encoders.stack import block_of
from isthmus.errors import InvalidInput, InvalidMedia, UnsupportedModality
from isthmus.index.catalog.content_encoding import DECODERS, FILES_A_BATCH, batched
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query_vectors import BlockQuery, given_vector
from isthmus.schema import MEDIA, TEXT, VECTOR, Modality

Encoded = tuple[list["ListedQuery"], FloatArray]


@dataclass(eq=False)
class ListedQuery:
    """One query of many: what it holds, then its vectors, or what is wrong with it.

    Attributes
    ----------
    contents : dict
        What it holds of text, image, audio and vector.
    folder : Path or None
        What paths are relative to; None stands for the working folder.
    vectors : dict of str to numpy.ndarray
        Unit vector, shape (dim,), for each block it speaks to.
    reason : str
        Why it cannot be answered; empty if it can.
    """

    contents: dict[str, Any]
    folder: Path | None = None
    vectors: BlockQuery = field(default_factory=dict)
    reason: str = ""


class QueryEncoder:
    """Turns the contents of many queries into vectors, a batch at a time.

    Parameters
    ----------
    settings : SpaceSettings
        The blocks and the fusion weights of the space.
    encoder_of : callable
        Gives the encoder of a modality; called only for modalities that are asked for.
    media : MediaStore
        Reads files.
    alignment : Alignment, optional
        What the settings' aligned block is made by.
    """

    def __init__(
        self,
        settings: SpaceSettings,
        encoder_of: Callable[[Modality], Encoder],
        media: MediaStore,
        alignment: Alignment | None = None,
    ) -> None:
        self._alignment = alignment
        self._blocks = settings.layout
        self._weights = settings.fusion
        self._encoder_of = encoder_of
        self._media = media

    def encode(self, queries: Sequence[ListedQuery]) -> None:
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
        fused = fuse(self._blocks, self._weights, parts, self._alignment)
        for name, part in fused.items():
            for query, vector, there in zip(queries, part.vectors, part.present, strict=True):
                if there and not query.reason:
                    query.vectors[name] = vector

    def _check(self, query: ListedQuery) -> None:
        held = query.contents
        if not held:
            raise InvalidInput("nothing to search for; give a text, an image, audio or a vector")
        if VECTOR in held:
            if len(held) > 1:
                raise InvalidInput("search by a vector, or by text, image and audio, not by all")
            query.vectors = given_vector(self._blocks, _numbers(held[VECTOR]))
        for modality in held.keys() - {VECTOR}:
            block_of(self._blocks, modality)

    def _texts(self, queries: list[ListedQuery]) -> Iterator[Encoded]:
        if queries:
            texts = [query.contents[TEXT] for query in queries]
            yield queries, self._encoder_of("text").encode(texts, "text")

    def _files(self, modality: Modality, queries: list[ListedQuery]) -> Iterator[Encoded]:
        """Decode and encode files, few at a time: a decoded one takes megabytes."""
        with ThreadPoolExecutor(DECODERS) as decoders:
            for part in batched(queries, FILES_A_BATCH[modality]):
                opened = list(decoders.map(partial(self._open, modality), part))
                good = [query for query in part if not query.reason]
                if good:
                    decoded = [content for content in opened if content is not None]
                    yield good, self._encoder_of(modality).encode(decoded, modality)

    def _open(self, modality: Modality, query: ListedQuery) -> Any:
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
        self, queries: Sequence[ListedQuery], modality: Modality, encoded: Iterator[Encoded]
    ) -> dict[Modality, BlockVectors]:
        """Put the vectors of one modality in the places of their queries."""
        place = {id(query): i for i, query in enumerate(queries)}
        parts = [([place[id(query)] for query in some], vectors) for some, vectors in encoded]
        if not parts:
            return {}
        dim = block_of(self._blocks, modality).dim
        out = BlockVectors(np.zeros((len(queries), dim), np.float32), np.zeros(len(queries), bool))
        for places, vectors in parts:
            out.vectors[places], out.present[places] = vectors, True
        return {modality: out}


def _holding(queries: Sequence[ListedQuery], content: str) -> list[ListedQuery]:
    return [query for query in queries if not query.reason and content in query.contents]


def _numbers(vector: Any) -> FloatArray:
    """Take a vector as a list of numbers, or as the text of one, as a CSV has it."""
    try:
        values = json.loads(vector) if isinstance(vector, str) else vector
        return np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidInput("the vector is no list of numbers") from error
