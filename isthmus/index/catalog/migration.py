"""Migration of a space to other vectors: prepared beside the old ones, then switched at once.

1. `Migration.encode_missing`: without a lock, while the space is read and written, every content
   goes through other encoders, if there are any, into their embedding caches.
2. `Migration.prepare`: under the catalog's lock, the new vectors get columns beside the old.
3. `Migration.switch`: items that changed since are synchronised, and ``space.toml`` is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from isthmus.data.media import MediaStore
from isthmus.durable import make_folder
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.errors import InvalidMedia, IsthmusError
from isthmus.index.catalog.alignments import delete_other_alignments, store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    ContentEncoder,
    EncoderOf,
    open_embedding_cache,
    open_embedding_caches,
)
from isthmus.index.catalog.ingest import Ingest
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.vector_columns import (
    add_missing_columns,
    drop_unused_columns,
    items_with_stale_mask,
    synchronise,
)
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import CONTENT_HASH, FORMER_SETTINGS_FOLDER, MEDIA, Modality

MAX_ROUNDS: Final = 10  # each round encodes what was added while the round before ran


class Migration:
    """The migration of a space to other settings; the space stays as it is until the switch.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    current : SpaceSettings
        Its settings.
    target : SpaceSettings
        The new settings, with columns that can stand beside the current ones.
    alignment : Alignment or None
        The alignment that the new settings name.
    encoder_of : callable
        Returns the encoder of a modality; called only if something must be encoded.
    media : MediaStore
        Reads media.

    Attributes
    ----------
    n_changed : int
        Number of items that changed between `prepare` and `switch`.
    """

    def __init__(
        self,
        space: Path,
        catalog: Catalog,
        current: SpaceSettings,
        target: SpaceSettings,
        alignment: Alignment | None,
        encoder_of: EncoderOf,
        media: MediaStore,
    ) -> None:
        self._space, self._catalog, self._media = space, catalog, media
        self._current, self._target, self._alignment = current, target, alignment
        self._encoder_of = encoder_of
        modalities: list[Modality] = [
            modality
            for modality in target.encoded_modalities
            if target.encoder_fingerprint(modality) != current.encoder_fingerprint(modality)
        ]
        self._other_encoders = any(
            target.encoder_fingerprint(m) != current.encoder_fingerprint(m) for m in target.encoders
        )
        self._embeddings = MissingEmbeddings(space, target, modalities, media, encoder_of)
        self.n_changed = 0

    @property
    def encoded(self) -> dict[str, int]:
        """Number of contents that went through a model, by modality."""
        return self._embeddings.encoded

    def encode_missing(self, *, progress: bool = False) -> None:
        """Encode every content, and what is added meanwhile; needs no lock."""
        for _ in range(MAX_ROUNDS):
            snapshot = self._catalog.snapshot()
            if not any(self._embeddings.count(snapshot).values()):
                return
            self._embeddings.encode(snapshot, progress=progress)

    def prepare(self, *, progress: bool = False) -> Snapshot:
        """Add the new columns beside the old ones; the caller holds the catalog's lock.

        Returns
        -------
        Snapshot
            The catalog with both.
        """
        self._embeddings.encode(self._catalog.snapshot(), progress=progress)
        if self._alignment is not None:
            store_alignment(self._space, self._alignment)
        add_missing_columns(
            self._space,
            self._catalog,
            self._current,
            self._target,
            self._alignment,
            progress=progress,
        )
        return self._catalog.snapshot()

    def switch(self, since: int, release: int | None) -> None:
        """Synchronise items that changed after a version, and replace the settings of the space.

        The caller holds the locks of releases and catalog. The old columns stay.

        Parameters
        ----------
        since : int
            The version.
        release : int or None
            The release that becomes current with the settings.
        """
        changed = self._catalog.snapshot().changed_ids(since)
        self.n_changed = len(changed)
        self._embeddings.encode(self._catalog.snapshot())
        synchronise(self._space, self._catalog, changed, self._target, self._alignment)
        if self._other_encoders:
            store_former_settings(self._space, self._current)
        self._target.with_pending(release).write(self._space)

    def abort(self) -> None:
        """Drop the new columns; the caller holds the catalog's lock.

        The settings are read from disk, because another process may have changed the alignment.
        """
        settings = SpaceSettings.read(self._space)
        drop_unused_columns(self._catalog, settings)
        delete_other_alignments(self._space, settings.alignment)


def retry_stale_items(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    encoder_of: EncoderOf,
    media: MediaStore,
) -> int:
    """Ingest the items again whose modality mask does not match their vectors.

    Items with a content that cannot be encoded go to quarantine; others leave it.

    Returns
    -------
    int
        Number of items that went to quarantine.
    """
    stale = items_with_stale_mask(space, catalog.snapshot(), settings)
    if not stale:
        return 0
    caches = open_embedding_caches(space, settings)
    ingest = Ingest(catalog, media, caches, settings, encoder_of, alignment)
    return ingest.retry(stale).quarantined


class MissingEmbeddings:
    """Encodes the contents of a catalog that the embedding caches of other encoders lack.

    Embeddings reach the disk within seconds and are not encoded again: a job that was killed
    continues where it stopped.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        The settings with the other encoders.
    modalities : sequence of str
        Modalities whose encoders differ.
    media : MediaStore
        Reads media.
    encoder_of : callable
        Returns the encoder of a modality; called only if something must be encoded.

    Attributes
    ----------
    encoded : dict of str to int
        Number of contents that went through a model, by modality.
    failed : dict of bytes to str
        The error of each content that could not be read or decoded, by digest.
    """

    def __init__(
        self,
        space: Path,
        settings: SpaceSettings,
        modalities: Sequence[Modality],
        media: MediaStore,
        encoder_of: EncoderOf,
    ) -> None:
        self._caches: dict[Modality, EmbeddingCache] = {
            modality: open_embedding_cache(space, settings, modality) for modality in modalities
        }
        self._encoder = ContentEncoder(self._caches, media, encoder_of)
        self.failed: dict[bytes, str] = {}

    @property
    def encoded(self) -> dict[str, int]:
        """Number of contents that went through a model, by modality."""
        return self._encoder.encoded

    def count(self, snapshot: Snapshot) -> dict[Modality, int]:
        """Return the number of contents that the caches lack, without those that failed."""
        counts = dict.fromkeys(self._caches, 0)
        for modality in self._caches:
            distinct: set[bytes] = set()
            for contents in self._missing(snapshot, modality):
                distinct |= contents.keys()
            counts[modality] = len(distinct)
        return counts

    def encode(self, snapshot: Snapshot, *, progress: bool = False) -> None:
        """Encode what the caches lack; note contents that cannot be decoded in `failed`.

        Parameters
        ----------
        snapshot : Snapshot
            The catalog.
        progress : bool, default False
            Whether to show a progress bar.
        """
        try:
            for modality, count in self.count(snapshot).items():
                if count:
                    with progress_bar(f"encoding {modality}", count, show=progress) as advance:
                        for contents in self._missing(snapshot, modality):
                            self._encode(modality, contents, advance)
        finally:
            for cache in self._caches.values():
                cache.close()

    def _missing(self, snapshot: Snapshot, modality: Modality) -> Iterator[dict[bytes, str]]:
        """Yield the contents that the cache lacks, by digest, one dict per batch of items."""
        for batch in snapshot.batches([modality, CONTENT_HASH[modality]]):
            rows = zip(batch.column(1).to_pylist(), batch.column(0).to_pylist(), strict=True)
            contents = {h: value for h, value in rows if h is not None and h not in self.failed}
            missing = self._encoder.missing(modality, contents)
            if missing:
                yield {h: contents[h] for h in missing}

    def _encode(self, modality: Modality, contents: Mapping[bytes, str], advance: Advance) -> None:
        hashes = self._encoder.missing(modality, contents)  # an earlier batch may have had some
        failed: dict[bytes, InvalidMedia]
        if modality in MEDIA:
            failed = self._encoder.encode_files(modality, hashes, contents, advance)
        else:
            prepared = self._encoder.prepare_texts({h: contents[h] for h in hashes})
            failed = self._encoder.encode_texts(hashes, prepared, advance)
        self.failed |= {h: str(error) for h, error in failed.items()}


def store_former_settings(space: Path, settings: SpaceSettings) -> None:
    """Store settings of a space, by fingerprint of the encoder stack, to roll back to."""
    folder = space / FORMER_SETTINGS_FOLDER / settings.fingerprint
    make_folder(folder)
    settings.write(folder)


def former_settings(space: Path) -> Iterator[SpaceSettings]:
    """Yield the stored former settings that can be read."""
    for folder in sorted((space / FORMER_SETTINGS_FOLDER).glob("*")):
        try:
            yield SpaceSettings.read(folder)
        except IsthmusError:
            continue
