"""Vectors of an encoder, encoded once and kept in an embedding cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar
from isthmus.schema import Modality

CONTENTS_AT_ONCE: Final[dict[Modality, int]] = {"text": 512, "image": 32}


def encode_cached(
    encoder: Encoder,
    modality: Modality,
    digests: Sequence[bytes],
    load: Callable[[Iterable[int]], list[Any]],
    folder: Path,
    *,
    label: str = "encoding",
    show: bool = False,
) -> FloatArray:
    """Return the vectors of contents, those in the cache without encoding.

    Parameters
    ----------
    encoder : Encoder
        Encodes what the cache lacks; an interruption loses a few seconds of that.
    modality : {"text", "image"}
        Modality of the contents.
    digests : sequence of bytes
        Digest of each content.
    load : callable
        Returns the contents of some rows, as the encoder takes them.
    folder : Path
        Folder of the cache.
    label : str
        Text of the progress bar.
    show : bool, default False
        Whether to show a progress bar.

    Returns
    -------
    numpy.ndarray
        float32, shape (len(digests), encoder.dim).
    """
    cache = EmbeddingCache(folder, modality, encoder.fingerprint, encoder.dim)
    missing = [row for row, cached in enumerate(cache.contains(digests).tolist()) if not cached]
    try:
        with progress_bar(label, len(digests), show=show) as advance:
            advance(len(digests) - len(missing))
            for start in range(0, len(missing), CONTENTS_AT_ONCE[modality]):
                rows = missing[start : start + CONTENTS_AT_ONCE[modality]]
                cache.add([digests[row] for row in rows], encoder.encode(load(rows), modality))
                advance(len(rows))
    finally:
        cache.close()
    return cache.vectors(digests)
