"""Contents to vectors: whatever a cache lacks goes through a model, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from isthmus.data.media import MediaStore
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import MaskedVectors
from isthmus.encoders.stack import named_vector_of
from isthmus.errors import InvalidMedia
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import Advance
from isthmus.schema import EMBEDDING_CACHE_FOLDER, Modality

TEXTS_A_BATCH = 1_024
FILES_A_BATCH: dict[Modality, int] = {"image": 64, "audio": 8}  # one clip has many windows
DECODERS = 2

T = TypeVar("T")


class ContentEncoder:
    """Encodes contents into caches.

    Parameters
    ----------
    caches : mapping of str to EmbeddingCache
        A cache for each modality.
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
        """Give the contents that the cache lacks."""
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
        """Encode texts, in pieces that reach the cache one by one."""
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


def stored_vectors(cache: EmbeddingCache, hashes: Sequence[bytes | None]) -> MaskedVectors:
    """Look the vectors of contents up; absent where there is no content, or it was not encoded."""
    present = np.array([h is not None for h in hashes], bool)
    wanted = [h for h in hashes if h is not None]
    known = cache.contains(wanted) if wanted else np.zeros(0, bool)
    present[present] = known
    vectors = np.zeros((len(hashes), cache.dim), np.float32)
    found = [h for h, there in zip(wanted, known.tolist(), strict=True) if there]
    if found:
        vectors[present] = cache.vectors(found)
    return MaskedVectors(vectors, present)


def as_column(part: MaskedVectors) -> pa.ListArray:
    """Write vectors as a column of lists, null where absent."""
    dim = part.vectors.shape[1]
    ends = np.cumsum(part.present) * dim
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    flat = pa.array(part.vectors[part.present].ravel())
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~part.present))


def open_embedding_caches(
    space: Path, settings: SpaceSettings, *, peek: bool = False
) -> dict[Modality, EmbeddingCache]:
    """Open the cache of each modality of a space."""
    return {m: open_embedding_cache(space, settings, m, peek=peek) for m in settings.encoders}


def open_embedding_cache(
    space: Path, settings: SpaceSettings, modality: Modality, *, peek: bool = False
) -> EmbeddingCache:
    """Open the cache of one modality of a space; see `EmbeddingCache` for `peek`."""
    dim = named_vector_of(settings.layout, modality).dim
    fingerprint = settings.encoder_fingerprint(modality)
    return EmbeddingCache(space / EMBEDDING_CACHE_FOLDER, modality, fingerprint, dim, peek=peek)
