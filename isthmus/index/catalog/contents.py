"""Contents to vectors: whatever an embedding cache lacks goes through a model, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from isthmus.data.media import MediaStore
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidMedia
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import Advance
from isthmus.schema import Modality

TEXTS_A_BATCH = 1_024
FILES_A_BATCH: dict[Modality, int] = {"image": 64, "audio": 8}  # one clip has many windows
DECODERS = 2

T = TypeVar("T")


class ContentEncoder:
    """Encodes contents into embedding caches.

    Parameters
    ----------
    caches : mapping of str to EmbeddingCache
        An embedding cache for each modality.
    media : MediaStore
        Reads files.
    encoder_of : callable
        Gives the encoder of a modality; called only if something must be encoded.

    Attributes
    ----------
    encoded : dict of str to int
        Contents that went through a model, by modality.
    """

    def __init__(
        self,
        caches: Mapping[Modality, EmbeddingCache],
        media: MediaStore,
        encoder_of: Callable[[Modality], Encoder],
    ) -> None:
        self._caches, self._media, self._encoder_of = caches, media, encoder_of
        self.encoded: dict[str, int] = {str(modality): 0 for modality in caches}

    def unknown(self, modality: Modality, hashes: Iterable[bytes]) -> list[bytes]:
        """Give the contents that the embedding cache lacks."""
        wanted = list(hashes)
        if not wanted:
            return []
        known = self._caches[modality].contains(wanted)
        return [h for h, there in zip(wanted, known.tolist(), strict=True) if not there]

    def prepare_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, Any]:
        """Tokenise texts: all that needs no model to run."""
        if not texts:
            return {}
        prepared = self._encoder_of("text").prepare(list(texts.values()), "text")
        return dict(zip(texts, prepared, strict=True))

    def encode_texts(
        self, hashes: Sequence[bytes], prepared: Mapping[bytes, Any], advance: Advance
    ) -> None:
        """Encode texts, in pieces that reach the embedding cache one by one."""
        for piece in batched(hashes, TEXTS_A_BATCH):
            vectors = self._encoder_of("text").embed([prepared[h] for h in piece], "text")
            self._caches["text"].add(piece, vectors)
            self.encoded["text"] += len(piece)
            advance(len(piece))

    def encode_files(
        self,
        modality: Modality,
        hashes: Sequence[bytes],
        references: Mapping[bytes, str],
        advance: Advance,
    ) -> dict[bytes, InvalidMedia]:
        """Encode files, decoded in threads beside the model; give those that failed."""
        bad: dict[bytes, InvalidMedia] = {}
        if not hashes:
            return bad
        encoder, at_once = self._encoder_of(modality), FILES_A_BATCH[modality]

        def prepare(content: bytes) -> Any:
            try:
                data = self._media.read(references[content])
                if digest(data) != content:
                    return InvalidMedia(f"{references[content]} changed while it was read")
                return encoder.prepare([decode(modality, data)], modality)[0]
            except InvalidMedia as error:
                return error

        with ThreadPoolExecutor(DECODERS) as decoders:
            prepared = _map_ahead(decoders, prepare, hashes, waiting_most=2 * at_once)
            for batch in batched(zip(hashes, prepared, strict=True), at_once):
                good = [(h, value) for h, value in batch if not isinstance(value, InvalidMedia)]
                bad |= {h: value for h, value in batch if isinstance(value, InvalidMedia)}
                if good:
                    vectors = encoder.embed([value for _, value in good], modality)
                    bad |= self._record([h for h, _ in good], vectors, modality)
                advance(len(batch))
        return bad

    def _record(
        self, hashes: Sequence[bytes], vectors: FloatArray, modality: Modality
    ) -> dict[bytes, InvalidMedia]:
        """Remember vectors; give the contents whose vectors are no numbers."""
        finite = np.asarray(np.isfinite(vectors).all(axis=1), bool).tolist()
        kept = [h for h, fit in zip(hashes, finite, strict=True) if fit]
        self._caches[modality].add(kept, vectors[finite])
        self.encoded[modality] += len(kept)
        failed = InvalidMedia("the encoder gives a vector that holds NaN or infinity")
        return {h: failed for h, fit in zip(hashes, finite, strict=True) if not fit}


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give values in lists of at most so many."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _map_ahead(
    pool: Executor, work: Any, values: Sequence[bytes], waiting_most: int
) -> Iterator[Any]:
    """Map in threads, in order, with a bounded number of results waiting."""
    rest = iter(values)
    waiting = [pool.submit(work, value) for value in islice(rest, waiting_most)]
    while waiting:
        done = waiting.pop(0).result()
        waiting += [pool.submit(work, value) for value in islice(rest, 1)]
        yield done
