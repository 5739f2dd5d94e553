"""Pairs to align by, as vectors: out of the caches, or encoded into them once."""

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
PICTURE: Modality = "image"


@dataclass(eq=False)
class GatheredPairs:
    """Pairs, and what is wrong with those that are not among them.

    Attributes
    ----------
    pairs : Pairs
        Their vectors.
    problems : list of str
        Each pair that was left out, by name, and why.
    encoded : dict of str to int
        Contents that went through a model, by modality.
    """

    pairs: Pairs
    problems: list[str] = field(default_factory=list)
    encoded: dict[str, int] = field(default_factory=dict)


def pairs_of_catalog(
    snapshot: Snapshot, caches: Mapping[Modality, EmbeddingCache]
) -> GatheredPairs:
    """Give the items that have both a text and a picture; each domain is a set."""
    table = snapshot.with_contents([TEXT, PICTURE])
    texts = table.column(CONTENT_HASH[TEXT]).to_pylist()
    images = table.column(CONTENT_HASH[PICTURE]).to_pylist()
    return _gather(texts, images, table.column(DOMAIN).to_pylist(), caches)


def pairs_of_rows(
    rows: Iterable[Pair],
    caches: Mapping[Modality, EmbeddingCache],
    media: MediaStore,
    encoder: ContentEncoder,
    *,
    count: int | None = None,
    progress: bool = False,
) -> GatheredPairs:
    """Give the vectors of pairs that stand in files.

    A pair whose text is empty, or whose picture cannot be read, is left out and reported.

    Parameters
    ----------
    rows : iterable of Pair
        The pairs.
    caches : mapping of str to EmbeddingCache
        Where vectors are kept.
    media : MediaStore
        Reads pictures.
    encoder : ContentEncoder
        Encodes what the caches lack.
    count : int, optional
        How many pairs there are, if that is known.
    progress : bool, default False
        Whether to show bars.
    """
    read = _Read()
    with progress_bar("reading pairs", count, show=progress) as advance:
        for pair in rows:
            read.take(pair, media)
            advance(1)
    bad = _encode(read, encoder, show=progress)
    for cache in caches.values():
        cache.flush()
    good = [at for at, image in enumerate(read.images) if image not in bad]
    read.problems += [
        f"{label}: {bad[image]}"
        for label, image in zip(read.labels, read.images, strict=True)
        if image in bad
    ]
    gathered = _gather(
        [read.texts[at] for at in good],
        [read.images[at] for at in good],
        [read.groups[at] for at in good],
        caches,
    )
    gathered.problems, gathered.encoded = read.problems, encoder.encoded
    return gathered


class _Read:
    """Pairs as they are read: digests of their contents, and where those are."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.groups: list[str] = []
        self.texts: list[bytes] = []
        self.images: list[bytes] = []
        self.text_of: dict[bytes, str] = {}
        self.image_at: dict[bytes, str] = {}
        self.problems: list[str] = []
        self._digests: dict[str, bytes] = {}

    def take(self, pair: Pair, media: MediaStore) -> None:
        """Remember a pair, or what is wrong with it."""
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


def _encode(read: _Read, encoder: ContentEncoder, *, show: bool) -> dict[bytes, InvalidMedia]:
    texts = encoder.unknown(TEXT, read.text_of)
    images = encoder.unknown(PICTURE, read.image_at)
    with progress_bar("encoding", len(texts) + len(images), show=show) as advance:
        prepared = encoder.prepare_texts({h: read.text_of[h] for h in texts})
        encoder.encode_texts(texts, prepared, advance)
        return encoder.encode_files(PICTURE, images, read.image_at, advance)


def _gather(
    texts: Sequence[bytes],
    images: Sequence[bytes],
    groups: Sequence[str],
    caches: Mapping[Modality, EmbeddingCache],
) -> GatheredPairs:
    """Look the vectors of pairs up; pairs of which a cache lacks one are passed over."""
    there = np.ones(len(texts), bool)
    for hashes, modality in ((texts, TEXT), (images, PICTURE)):
        if len(hashes):
            there &= caches[modality].contains(hashes)
    kept = np.flatnonzero(there).tolist()
    names = tuple(dict.fromkeys(groups[at] for at in kept))
    place = {name: number for number, name in enumerate(names)}
    own_texts, own_images = [texts[at] for at in kept], [images[at] for at in kept]
    return GatheredPairs(
        Pairs(
            caches[TEXT].vectors(own_texts) if kept else np.empty((0, caches[TEXT].dim), "f4"),
            caches[PICTURE].vectors(own_images)
            if kept
            else np.empty((0, caches[PICTURE].dim), "f4"),
            ids_of(own_texts),
            ids_of(own_images),
            np.array([place[groups[at]] for at in kept], np.int64),
            names,
        )
    )
