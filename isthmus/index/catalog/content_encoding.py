"""Content encoding: contents that an embedding cache lacks go through a model, once."""

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
from isthmus.encoders.text import cut_text, is_cut
from isthmus.errors import InvalidMedia, PartlyEncoded
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import Advance
from isthmus.schema import EMBEDDING_CACHE_FOLDER, Modality

TEXTS_PER_BATCH = 1_024
FILES_PER_BATCH: dict[Modality, int] = {"image": 64, "audio": 8}  # one clip has many windows
DECODING_THREADS = 2

T = TypeVar("T")

EncoderOf = Callable[[Modality], Encoder]
MissingContents = Iterator[tuple[Modality, dict[bytes, str]]]
"""Contents that no cache has: digest to text, or to the reference of a file, by modality."""


def open_embedding_caches(
    space: Path, settings: SpaceSettings, *, lazy: bool = False
) -> dict[Modality, EmbeddingCache]:
    """Return the embedding cache of each modality that a space encodes its items in.

    See `EmbeddingCache` for `lazy`.
    """
    modalities = settings.encoded_modalities
    return {m: open_embedding_cache(space, settings, m, lazy=lazy) for m in modalities}


def open_embedding_cache(
    space: Path, settings: SpaceSettings, modality: Modality, *, lazy: bool = False
) -> EmbeddingCache:
    """Return the embedding cache of one modality of a space; see `EmbeddingCache` for `lazy`."""
    dim = named_vector_of(settings.layout, modality).dim
    fingerprint = settings.encoder_fingerprint(modality)
    return EmbeddingCache(space / EMBEDDING_CACHE_FOLDER, modality, fingerprint, dim, lazy=lazy)


def lookup_vectors(cache: EmbeddingCache, hashes: Sequence[bytes | None]) -> MaskedVectors:
    """Return the cached vectors of contents; absent without content, or where it is not cached.

    Parameters
    ----------
    cache : EmbeddingCache
        The cache.
    hashes : sequence of bytes or None
        Content digests, shape (n,).
    """
    present = np.array([h is not None for h in hashes], bool)
    contents = [h for h in hashes if h is not None]
    cached = cache.contains(contents) if contents else np.zeros(0, bool)
    present[present] = cached
    vectors = np.zeros((len(hashes), cache.dim), np.float32)  # (n, dim)
    contents = [h for h, hit in zip(contents, cached.tolist(), strict=True) if hit]
    if contents:
        vectors[present] = cache.vectors(contents)
    return MaskedVectors(vectors, present)


def to_list_column(masked: MaskedVectors) -> pa.ListArray:
    """Return vectors as a column of lists, null where absent, shape (n,)."""
    dim = masked.vectors.shape[1]
    ends = np.cumsum(masked.present) * dim
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    flat = pa.array(masked.vectors[masked.present].ravel())
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~masked.present))


class ContentEncoder:
    """Encodes contents into embedding caches.

    Parameters
    ----------
    caches : mapping of str to EmbeddingCache
        A cache for each modality.
    media : MediaStore
        Reads media.
    encoder_of : callable
        Returns the encoder of a modality; called only if something must be encoded.

    Attributes
    ----------
    encoded : dict of str to int
        Number of contents that went through a model, by modality.
    truncated : int
        Number of texts that are longer than the encoder reads.
    longest_truncated : int
        Characters of the longest of them.
    """

    def __init__(
        self,
        caches: Mapping[Modality, EmbeddingCache],
        media: MediaStore,
        encoder_of: EncoderOf,
    ) -> None:
        self._caches, self._media, self._encoder_of = caches, media, encoder_of
        self.encoded: dict[str, int] = {str(modality): 0 for modality in caches}
        self.truncated = self.longest_truncated = 0
        self._refused: dict[Modality, dict[bytes, InvalidMedia]] = {}

    def missing(self, modality: Modality, hashes: Iterable[bytes]) -> list[bytes]:
        """Return the contents that the embedding cache lacks."""
        contents = list(hashes)
        if not contents:
            return []
        cached = self._caches[modality].contains(contents)
        return [h for h, hit in zip(contents, cached.tolist(), strict=True) if not hit]

    def prepare_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, Any]:
        """Return the tokens of texts: the part of the encoding that needs no model to run."""
        if not texts:
            return {}
        encoder = self._encoder_of("text")
        prepared = encoder.prepare(list(map(cut_text, texts.values())), "text")
        filled = encoder.are_truncated(prepared, "text")
        pairs = zip(texts.values(), filled, strict=True)
        self.count_truncated([len(text) for text, is_full in pairs if is_full or is_cut(text)])
        return dict(zip(texts, prepared, strict=True))

    def count_truncated(self, lengths: Sequence[int]) -> None:
        """Count texts that are longer than the encoder reads, by their characters."""
        self.truncated += len(lengths)
        self.longest_truncated = max([self.longest_truncated, *lengths])

    def refuse(self, modality: Modality, failed: Mapping[bytes, InvalidMedia]) -> None:
        """Note contents that cannot be encoded, so that they are not tried again."""
        self._refused.setdefault(modality, {}).update(failed)

    def flush(self) -> None:
        """Write the caches to the disk."""
        for cache in self._caches.values():
            cache.flush()

    def encode_texts(
        self, hashes: Sequence[bytes], prepared: Mapping[bytes, Any], advance: Advance
    ) -> dict[bytes, InvalidMedia]:
        """Encode texts in batches; each batch is cached when it is done.

        Returns
        -------
        dict of bytes to InvalidMedia
            The texts whose vectors are not finite, or which the encoder refuses.

        Raises
        ------
        PartlyEncoded
            If a remote encoder answers no more; what it made before is cached.
        """
        hashes, failed = self._without_refused("text", hashes)
        for batch in batched(hashes, TEXTS_PER_BATCH):
            encoder = self._encoder_of("text")
            try:
                vectors = encoder.embed([prepared[h] for h in batch], "text")
            except PartlyEncoded as error:
                failed |= self._add_part(batch, error, encoder.dim)
                if error.is_over:
                    raise
            else:
                failed |= self.add(batch, vectors, "text")
            advance(len(batch))
        return failed

    def _without_refused(
        self, modality: Modality, hashes: Sequence[bytes]
    ) -> tuple[Sequence[bytes], dict[bytes, InvalidMedia]]:
        """Return the contents that may be encoded, and the others with the reasons."""
        refused = self._refused.get(modality, {})
        if not refused:
            return hashes, {}
        failed = {h: refused[h] for h in hashes if h in refused}
        return [h for h in hashes if h not in refused], failed

    def _add_part(
        self, hashes: Sequence[bytes], error: PartlyEncoded, dim: int
    ) -> dict[bytes, InvalidMedia]:
        """Cache what was encoded of a batch; return what was refused."""
        done = sorted(error.vectors)
        vectors = np.array([error.vectors[at] for at in done], np.float32).reshape(-1, dim)
        failed = self.add([hashes[at] for at in done], vectors, "text")
        return failed | {hashes[at]: InvalidMedia(why) for at, why in error.refused.items()}

    def encode_files(
        self,
        modality: Modality,
        hashes: Sequence[bytes],
        references: Mapping[bytes, str],
        advance: Advance,
    ) -> dict[bytes, InvalidMedia]:
        """Encode media in batches; threads decode them while the model runs.

        Returns
        -------
        dict of bytes to InvalidMedia
            The contents that failed.
        """
        hashes, failed = self._without_refused(modality, hashes)
        if not hashes:
            return failed
        encoder, batch_size = self._encoder_of(modality), FILES_PER_BATCH[modality]

        def prepare(content: bytes) -> Any:
            try:
                data = self._media.read(references[content])
                if digest(data) != content:
                    return InvalidMedia(f"{references[content]} changed while it was read")
                return encoder.prepare([decode(modality, data)], modality)[0]
            except InvalidMedia as error:
                return error

        with ThreadPoolExecutor(DECODING_THREADS) as threads:
            prepared = _map_ahead(threads, prepare, hashes, max_waiting=2 * batch_size)
            for batch in batched(zip(hashes, prepared, strict=True), batch_size):
                valid = [(h, value) for h, value in batch if not isinstance(value, InvalidMedia)]
                failed |= {h: value for h, value in batch if isinstance(value, InvalidMedia)}
                if valid:
                    vectors = encoder.embed([value for _, value in valid], modality)
                    failed |= self.add([h for h, _ in valid], vectors, modality)
                advance(len(batch))
        return failed

    def add(
        self, hashes: Sequence[bytes], vectors: FloatArray, modality: Modality
    ) -> dict[bytes, InvalidMedia]:
        """Cache vectors; return the contents whose vectors are not finite."""
        finite = np.asarray(np.isfinite(vectors).all(axis=1), bool)
        flags = finite.tolist()
        valid = [h for h, is_finite in zip(hashes, flags, strict=True) if is_finite]
        self._caches[modality].add(valid, vectors[finite])
        self.encoded[modality] += len(valid)
        error = InvalidMedia("the encoder gives a vector that holds NaN or infinity")
        return {h: error for h, is_finite in zip(hashes, flags, strict=True) if not is_finite}


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield values in lists of `size`; the last may be shorter."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def _map_ahead(
    pool: Executor, function: Any, values: Sequence[bytes], max_waiting: int
) -> Iterator[Any]:
    """Map in threads, in order, with at most `max_waiting` results in memory."""
    iterator = iter(values)
    futures = [pool.submit(function, value) for value in islice(iterator, max_waiting)]
    while futures:
        result = futures.pop(0).result()
        futures += [pool.submit(function, value) for value in islice(iterator, 1)]
        yield result
