"""Embedding caches of other encoders, filled from the catalog while everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from isthmus.data.media import MediaStore
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.errors import InvalidMedia
from isthmus.index.catalog.contents import ContentEncoder
from isthmus.index.catalog.ingest import open_embedding_cache
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import CONTENT_HASH, MEDIA, Modality


class EmbeddingCacheFilling:
    """Brings the contents of a catalog into the embedding caches of other encoders.

    What is in an cache is on disk within seconds and is not encoded again: a job that is killed
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
        """Count the contents that the embedding caches lack, but for those that failed."""
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
        """Give the contents that the embedding cache lacks, batch by batch, by their digests."""
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
