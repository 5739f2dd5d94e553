"""How a space takes over other encoders: prepared beside the old ones, switched at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import Encoder
from isthmus.index.catalog.alignments import keep_only, store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.former_settings import keep_settings
from isthmus.index.catalog.ingest import Ingest, open_embedding_caches
from isthmus.index.catalog.quarantine import Quarantine
from isthmus.index.catalog.realign import drop_unnamed, make_blocks
from isthmus.index.catalog.reencode import EmbeddingCacheFilling
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.synchronise import catch_up, wrongly_masked
from isthmus.index.settings import SpaceSettings
from isthmus.schema import Modality

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
        make_blocks(
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
