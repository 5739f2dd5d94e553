"""How a space takes over other encoders: prepared beside the old ones, switched at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidMedia, IsthmusError
from isthmus.index.catalog.alignments import keep_only, store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    ContentEncoder,
    open_embedding_cache,
    open_embedding_caches,
)
from isthmus.index.catalog.ingest import Ingest
from isthmus.index.catalog.quarantine import Quarantine
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.vector_columns import (
    catch_up,
    drop_unnamed,
    make_vectors,
    wrongly_masked,
)
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import CONTENT_HASH, FORMER_SETTINGS_FOLDER, MEDIA, Modality

ROUNDS: Final = 10  # over what was added while the round before was encoded

EncoderOf = Callable[[Modality], Encoder]


class Move:
    """A space on its way to other encoders; until the switch it is what it was.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    present : SpaceSettings
        The settings that it has.
    wanted : SpaceSettings
        Those that it is to have, with columns that can stand beside the present ones.
    alignment : Alignment or None
        The alignment that these name.
    encoder_of : callable
        Gives the encoder of a modality; called only if something must be encoded.
    media : MediaStore
        Reads files.
    """

    def __init__(
        self,
        space: Path,
        catalog: Catalog,
        present: SpaceSettings,
        wanted: SpaceSettings,
        alignment: Alignment | None,
        encoder_of: EncoderOf,
        media: MediaStore,
    ) -> None:
        self._space, self._catalog, self._media = space, catalog, media
        self._present, self._wanted, self._alignment = present, wanted, alignment
        self._encoder_of = encoder_of
        self._changed: list[Modality] = [
            modality
            for modality in wanted.encoders
            if wanted.encoder_fingerprint(modality) != present.encoder_fingerprint(modality)
        ]
        self._filling = EmbeddingCacheFilling(space, wanted, self._changed, media, encoder_of)
        self.taken_up = 0

    @property
    def encoded(self) -> dict[str, int]:
        """Contents that went through a model, by modality."""
        return self._filling.encoded

    def fill(self, *, progress: bool = False) -> None:
        """Encode every content beside all that goes on, and what is added meanwhile."""
        for _ in range(ROUNDS):
            snapshot = self._catalog.snapshot()
            if not any(self._filling.missing(snapshot).values()):
                return
            self._filling.fill(snapshot, progress=progress)

    def prepare(self, *, progress: bool = False) -> Snapshot:
        """Put the new vectors beside the old; the caller holds the lock of the catalog.

        Returns
        -------
        Snapshot
            The catalog with both.
        """
        self._filling.fill(self._catalog.snapshot(), progress=progress)
        if self._alignment is not None:
            store_alignment(self._space, self._alignment)
        make_vectors(
            self._space,
            self._catalog,
            self._present,
            self._wanted,
            self._alignment,
            progress=progress,
        )
        return self._catalog.snapshot()

    def switch(self, since: int) -> None:
        """Take up what changed since a version, and let the space be what it is to be.

        The caller holds the locks of releases and catalog. Vectors of the former encoders stay
        in the catalog until `finish`.
        """
        changed = self._catalog.snapshot().changed_ids(since)
        self.taken_up = len(changed)
        self._filling.fill(self._catalog.snapshot())
        catch_up(self._space, self._catalog, changed, self._wanted, self._alignment)
        keep_settings(self._space, self._present)
        self._wanted.write(self._space)

    def finish(self, quarantine: Quarantine) -> int:
        """Drop the former vectors, and settle what cannot be encoded; give how many items.

        The caller holds the lock of the catalog.
        """
        drop_unnamed(self._catalog, self._wanted)
        return settle(
            self._space,
            self._catalog,
            self._wanted,
            self._alignment,
            self._encoder_of,
            self._media,
            quarantine,
        )

    def give_up(self) -> None:
        """Drop the new vectors again; the caller holds the lock of the catalog.

        What the space has now counts: another process may have aligned it since.
        """
        found = SpaceSettings.read(self._space)
        drop_unnamed(self._catalog, found)
        keep_only(self._space, found.alignment)


def settle(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    encoder_of: EncoderOf,
    media: MediaStore,
    quarantine: Quarantine,
) -> int:
    """Send what has no vector, though it has a content, to quarantine, and take back what has.

    Returns
    -------
    int
        How many items are in quarantine by it.
    """
    wrong = wrongly_masked(space, catalog.snapshot(), settings)
    if not wrong:
        return 0
    caches = open_embedding_caches(space, settings)
    ingest = Ingest(catalog, quarantine, media, caches, settings, encoder_of, alignment)
    return ingest.again(wrong).quarantined


class EmbeddingCacheFilling:
    """Brings the contents of a catalog into the caches of other encoders.

    What is in a cache is on disk within seconds and is not encoded again: a job that is killed
    goes on where it was.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Those that the space is to have.
    modalities : sequence of str
        Modalities whose encoders are others.
    media : MediaStore
        Reads files.
    encoder_of : callable
        Gives the encoder of a modality; called only if something must be encoded.

    Attributes
    ----------
    encoded : dict of str to int
        Contents that went through a model, by modality.
    failed : dict of bytes to str
        Contents that cannot be had or decoded, by digest, and why.
    """

    def __init__(
        self,
        space: Path,
        settings: SpaceSettings,
        modalities: Sequence[Modality],
        media: MediaStore,
        encoder_of: Callable[[Modality], Encoder],
    ) -> None:
        self._caches: dict[Modality, EmbeddingCache] = {
            modality: open_embedding_cache(space, settings, modality) for modality in modalities
        }
        self._contents = ContentEncoder(self._caches, media, encoder_of)
        self.failed: dict[bytes, str] = {}

    @property
    def encoded(self) -> dict[str, int]:
        """Contents that went through a model, by modality."""
        return self._contents.encoded

    def missing(self, snapshot: Snapshot) -> dict[Modality, int]:
        """Count the contents that the caches lack, but for those that failed."""
        counts = dict.fromkeys(self._caches, 0)
        for modality in self._caches:
            seen: set[bytes] = set()
            for wanted in self._wanted(snapshot, modality):
                seen |= wanted.keys()
            counts[modality] = len(seen)
        return counts

    def fill(self, snapshot: Snapshot, *, progress: bool = False) -> None:
        """Encode what the caches lack; what cannot be decoded is remembered and stops nothing.

        Parameters
        ----------
        snapshot : Snapshot
            The catalog.
        progress : bool, default False
            Whether to show a bar.
        """
        counts = self.missing(snapshot)
        try:
            for modality, count in counts.items():
                if count:
                    with progress_bar(f"encoding {modality}", count, show=progress) as advance:
                        for wanted in self._wanted(snapshot, modality):
                            self._encode(modality, wanted, advance)
        finally:
            for cache in self._caches.values():
                cache.close()

    def _wanted(self, snapshot: Snapshot, modality: Modality) -> Iterator[dict[bytes, str]]:
        """Give the contents that the cache lacks, batch by batch, by their digests."""
        for batch in snapshot.batches([modality, CONTENT_HASH[modality]]):
            rows = zip(batch.column(1).to_pylist(), batch.column(0).to_pylist(), strict=True)
            own = {h: value for h, value in rows if h is not None and h not in self.failed}
            wanted = self._contents.unknown(modality, own)
            if wanted:
                yield {h: own[h] for h in wanted}

    def _encode(self, modality: Modality, wanted: Mapping[bytes, str], advance: Advance) -> None:
        hashes = self._contents.unknown(modality, wanted)  # less what an earlier batch brought
        if modality in MEDIA:
            bad: dict[bytes, InvalidMedia]
            bad = self._contents.encode_files(modality, hashes, wanted, advance)
            self.failed |= {h: str(error) for h, error in bad.items()}
        else:
            prepared = self._contents.prepare_texts({h: wanted[h] for h in hashes})
            self._contents.encode_texts(hashes, prepared, advance)


def keep_settings(space: Path, settings: SpaceSettings) -> None:
    """Keep the settings of a space, by the fingerprint of its encoder stack."""
    folder = space / FORMER_SETTINGS_FOLDER / settings.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    settings.write(folder)


def former_settings(space: Path) -> Iterator[SpaceSettings]:
    """Give the settings that were kept and can be read."""
    for folder in sorted((space / FORMER_SETTINGS_FOLDER).glob("*")):
        try:
            yield SpaceSettings.read(folder)
        except IsthmusError:
            continue


def made_by_others(space: Path, present: SpaceSettings, fingerprint: str) -> bool:
    """Tell whether a fingerprint stands for other encoders than the present ones.

    Parameters
    ----------
    space : Path
        Folder of the space.
    present : SpaceSettings
        Its settings.
    fingerprint : str
        Of an encoder stack that the space had, when its encoders were changed.
    """
    return any(
        former.encoder_fingerprint(modality) != present.encoder_fingerprint(modality)
        for former in former_settings(space)
        if former.fingerprint == fingerprint
        for modality in present.encoders
    )
