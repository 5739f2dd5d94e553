"""Vectors of text-image pairs for training an alignment, from the embedding caches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isthmus.data.media import MediaStore
from isthmus.data.pairs import Pair
from isthmus.digests import digest
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.training.alignment.pairs import Pairs, ids_of
from isthmus.errors import InvalidMedia
from isthmus.index.catalog.content_encoding import ContentEncoder
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.progress import progress_bar
from isthmus.schema import CONTENT_HASH, DOMAIN, Modality

TEXT: Modality = "text"
IMAGE: Modality = "image"


@dataclass(eq=False)
class GatheredPairs:
    """Vectors of pairs, and the problems of pairs that were left out.

    Attributes
    ----------
    pairs : Pairs
        The vectors.
    problems : list of str
        The label of each pair that was left out, and the reason.
    encoded : dict of str to int
        Number of contents that went through a model, by modality.
    """

    pairs: Pairs
    problems: list[str] = field(default_factory=list)
    encoded: dict[str, int] = field(default_factory=dict)


def pairs_from_catalog(
    snapshot: Snapshot, caches: Mapping[Modality, EmbeddingCache]
) -> GatheredPairs:
    """Return the vectors of the items that have a text and an image; each domain is a group."""
    table = snapshot.content_digests([TEXT, IMAGE])
    texts = table.column(CONTENT_HASH[TEXT]).to_pylist()
    images = table.column(CONTENT_HASH[IMAGE]).to_pylist()
    return _gather(texts, images, table.column(DOMAIN).to_pylist(), caches)


def pairs_from_rows(
    rows: Iterable[Pair],
    caches: Mapping[Modality, EmbeddingCache],
    media: MediaStore,
    encoder: ContentEncoder,
    *,
    count: int | None = None,
    progress: bool = False,
) -> GatheredPairs:
    """Return the vectors of pairs that a reader yields; encode what the caches lack.

    A pair whose text is empty, or whose image cannot be read, is left out and reported.

    Parameters
    ----------
    rows : iterable of Pair
        The pairs.
    caches : mapping of str to EmbeddingCache
        An embedding cache for each modality.
    media : MediaStore
        Reads images.
    encoder : ContentEncoder
        Encodes what the caches lack.
    count : int, optional
        Number of pairs, if it is known.
    progress : bool, default False
        Whether to show progress bars.
    """
    contents = _PairContents()
    with progress_bar("reading pairs", count, show=progress) as advance:
        for pair in rows:
            contents.add(pair, media)
            advance(1)
    failed = _encode(contents, encoder, show=progress)
    for cache in caches.values():
        cache.flush()
    pairs = list(zip(contents.texts, contents.images, strict=True))
    valid = [i for i, pair in enumerate(pairs) if failed.keys().isdisjoint(pair)]
    contents.problems += [
        f"{label}: {failed[content]}"
        for label, pair in zip(contents.labels, pairs, strict=True)
        for content in pair
        if content in failed
    ]
    gathered = _gather(
        [contents.texts[i] for i in valid],
        [contents.images[i] for i in valid],
        [contents.groups[i] for i in valid],
        caches,
    )
    gathered.problems, gathered.encoded = contents.problems, encoder.encoded
    return gathered


class _PairContents:
    """The contents of pairs: their digests, and for each digest the text or the reference."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.groups: list[str] = []
        self.texts: list[bytes] = []
        self.images: list[bytes] = []
        self.text_of: dict[bytes, str] = {}
        self.image_at: dict[bytes, str] = {}
        self.problems: list[str] = []
        self._digests: dict[str, bytes] = {}

    def add(self, pair: Pair, media: MediaStore) -> None:
        """Add a pair, or its problem."""
        if not pair.text or not pair.text.strip():
            self.problems.append(f"{pair.label}: the text is empty")
        elif not pair.image:
            self.problems.append(f"{pair.label}: there is no picture")
        else:
            try:
                reference = media.put_inline(pair.image)
                image = self._digest(reference, media)
            except InvalidMedia as error:
                self.problems.append(f"{pair.label}: {error}")
                return
            text = digest(pair.text)
            self.labels.append(pair.label)
            self.groups.append(pair.group)
            self.texts.append(text)
            self.images.append(image)
            self.text_of[text] = pair.text
            self.image_at[image] = reference

    def _digest(self, reference: str, media: MediaStore) -> bytes:
        if reference not in self._digests:
            self._digests[reference] = digest(media.read(reference))
        return self._digests[reference]


def _encode(
    contents: _PairContents, encoder: ContentEncoder, *, show: bool
) -> dict[bytes, InvalidMedia]:
    texts = encoder.missing(TEXT, contents.text_of)
    images = encoder.missing(IMAGE, contents.image_at)
    with progress_bar("encoding", len(texts) + len(images), show=show) as advance:
        prepared = encoder.prepare_texts({h: contents.text_of[h] for h in texts})
        failed = encoder.encode_texts(texts, prepared, advance)
        return failed | encoder.encode_files(IMAGE, images, contents.image_at, advance)


def _gather(
    texts: Sequence[bytes],
    images: Sequence[bytes],
    groups: Sequence[str],
    caches: Mapping[Modality, EmbeddingCache],
) -> GatheredPairs:
    """Look the vectors of pairs up; skip pairs with a content that no cache has."""
    cached = np.ones(len(texts), bool)
    for hashes, modality in ((texts, TEXT), (images, IMAGE)):
        if len(hashes):
            cached &= caches[modality].contains(hashes)
    rows = np.flatnonzero(cached).tolist()
    names = tuple(dict.fromkeys(groups[i] for i in rows))
    codes = {name: code for code, name in enumerate(names)}
    texts, images = [texts[i] for i in rows], [images[i] for i in rows]
    return GatheredPairs(
        Pairs(
            caches[TEXT].vectors(texts) if rows else np.empty((0, caches[TEXT].dim), "f4"),
            caches[IMAGE].vectors(images) if rows else np.empty((0, caches[IMAGE].dim), "f4"),
            ids_of(texts),
            ids_of(images),
            np.array([codes[groups[i]] for i in rows], np.int64),
            names,
        )
    )
