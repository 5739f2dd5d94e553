"""The teacher's vectors, worked out once and kept."""

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


def teacher_vectors(
    teacher: Encoder,
    modality: Modality,
    digests: Sequence[bytes],
    load: Callable[[Iterable[int]], list[Any]],
    folder: Path,
    *,
    label: str = "the teacher's vectors",
    show: bool = False,
) -> FloatArray:
    """Give the teacher's vectors of contents, from the embedding cache where they are there.

    Parameters
    ----------
    teacher : Encoder
        Is asked for what the embedding cache lacks; an interrupt loses a few seconds of that.
    modality : {"text", "image"}
        What the contents are.
    digests : sequence of bytes
        Of each content.
    load : callable
        Row numbers to contents.
    folder : Path
        Where the embedding cache is.
    label : str
        What the bar is called.
    show : bool
        Whether to show a bar.

    Returns
    -------
    numpy.ndarray
        float32, shape (len(digests), teacher.dim).
    """
    cache = EmbeddingCache(folder, modality, teacher.fingerprint, teacher.dim)
    missing = [row for row, known in enumerate(cache.contains(digests).tolist()) if not known]
    try:
        with progress_bar(label, len(digests), show=show) as advance:
            advance(len(digests) - len(missing))
            for start in range(0, len(missing), CONTENTS_AT_ONCE[modality]):
                rows = missing[start : start + CONTENTS_AT_ONCE[modality]]
                vectors = teacher.encode(load(rows), modality)
                cache.add([digests[row] for row in rows], vectors)
                advance(len(rows))
    finally:
        cache.close()
    return cache.vectors(digests)
