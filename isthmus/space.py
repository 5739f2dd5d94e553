"""The space: one folder, one vector space, many catalogues."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isthmus.data.item_mapping import FieldMapping
from isthmus.data.item_reader import ItemReader
from isthmus.data.media import MediaLimits, MediaStore
from isthmus.encoders.alignment import AlignmentLike, resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import ModalityWeights, validated_weights
from isthmus.encoders.registry import EncoderLike, resolve_encoders
from isthmus.encoders.stack import EncoderStack
from isthmus.errors import InvalidInput, SpaceExists
from isthmus.index.catalog.alignments import store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.compact import CompactReport, compact
from isthmus.index.catalog.content_encoding import open_embedding_caches
from isthmus.index.catalog.ingest import AddReport, Ingest, is_small
from isthmus.index.catalog.lock import DEFAULT_WAIT_S, writing
from isthmus.index.settings import IndexSettings, SpaceSettings, Targets
from isthmus.retrieval.search.hybrid import index_text
from isthmus.schema import ITEM_ID
from isthmus.verbs.alignment import SpaceAligning
from isthmus.verbs.duplicates import SpaceDuplicates
from isthmus.verbs.evaluation import SpaceEvaluation
from isthmus.verbs.finetuning import SpaceFinetuning
from isthmus.verbs.interactions import SpaceInteractions
from isthmus.verbs.many_queries import SpaceManyQueries
from isthmus.verbs.maps import SpaceMaps
from isthmus.verbs.queries import SpaceQueries
from isthmus.verbs.ratings import SpaceRatings
from isthmus.verbs.reembedding import SpaceReembedding
from isthmus.verbs.source_domains import SpaceSources
from isthmus.verbs.training import SpaceTraining
from isthmus.verbs.weights import SpaceWeighing


class Space(
    SpaceQueries,
    SpaceManyQueries,
    SpaceDuplicates,
    SpaceRatings,
    SpaceInteractions,
    SpaceSources,
    SpaceTraining,
    SpaceAligning,
    SpaceWeighing,
    SpaceFinetuning,
    SpaceReembedding,
    SpaceEvaluation,
    SpaceMaps,
):
    """A folder that joins the items of many domains in one vector space.

    Get one with `Space.create` or `Space.open`. Several processes may read while one writes; a
    reader sees what another process wrote at its next query.
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: EncoderLike = "local",
        *,
        text_encoder: str | Encoder | None = None,
        image_encoder: str | Encoder | None = None,
        audio_encoder: str | Encoder | None = None,
        alignment: AlignmentLike = "auto",
        weights: ModalityWeights | None = None,
        recall: float = 0.95,
        device: str = "auto",
        precision: str = "auto",
    ) -> Space:
        """Make an empty space.

        Parameters
        ----------
        path : str or Path
            A folder that does not exist yet, or is empty.
        encoder : str, Encoder or mapping, default "local"
            What encodes every modality: a spec for `load_encoder`, an encoder, or one for each
            modality. An encoder of text and image puts both into one named vector; different
            encoders, such as those of ``local`` (MiniLM and EfficientNet-Lite0), have a named
            vector each, so that text finds items by their text and an image by their image. CLAP
            (``clap/NAME``) takes text and audio.
        text_encoder, image_encoder, audio_encoder : str or Encoder, optional
            In the place of `encoder`, one for each modality; those of one spec are one encoder.
        alignment : Alignment, path, ``"auto"`` or None, default "auto"
            What lets text and pictures of different encoders find each other: an alignment, or a
            folder that holds one. By default the one that comes with Isthmus, if it was learned
            for these encoders (those of ``local``); else there is none until `align` learns one.
        weights : mapping of str to float, optional
            Weight of each modality where several meet, 1 where not given; `set_weights` changes
            them, and a query may bring others (see `search`).
        recall : float, default 0.95
            Recall@10 against exact search that a release must reach.
        device : str, default "auto"
            Where the encoders run.
        precision : str, default "auto"
            What they compute in: fp32 on a CPU, bf16 or fp16 on a GPU. It belongs to the space's
            fingerprint: choose ``fp32`` to fill a space on a GPU and query it on a CPU.

        Raises
        ------
        SpaceExists
            If something stands there already.
        UnknownEncoder
            If there is no such encoder.
        FingerprintMismatch
            If the alignment was learned for other encoders.
        InvalidInput
            If a weight is no good.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise SpaceExists(f"{path} exists already; open it, or choose another folder")
        encoders = resolve_encoders(
            encoder,
            text_encoder,
            image_encoder,
            audio_encoder,
            device=device,
            precision=precision,
        )
        chosen = validated_weights(weights or {}, encoders)
        stack = EncoderStack(encoders, chosen, resolve_alignment(alignment, encoders))
        settings = SpaceSettings.of_stack(
            stack, IndexSettings().aiming(Targets().given(recall=recall))
        )
        building = path.with_name(f".{path.name}.creating")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        Catalog.create(building, stack.named_vectors)
        settings.write(building)
        if stack.alignment is not None:
            store_alignment(building, stack.alignment)
        building.replace(path)
        return cls(path, encoder=stack.encoders, device=device)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: EncoderLike | None = None,
        device: str = "auto",
        wait_s: float = DEFAULT_WAIT_S,
    ) -> Space:
        """Open a space.

        Parameters
        ----------
        path : str or Path
            Folder of the space.
        encoder : str, Encoder or mapping, optional
            Encoder to use; by default the one named in ``space.toml``, loaded when first needed.
        device : str, default "auto"
            Where the encoders run and what holds the indexes: ``cpu``, ``cuda``, ``cuda:N``,
            ``all`` (the indexes over every GPU), or ``auto``, the first GPU if there is one.
        wait_s : float, default 30
            How long a write waits for another writer, in seconds.

        Raises
        ------
        SpaceNotFound
            If the folder is no space.
        UnsupportedFormat
            If another version of Isthmus wrote it.
        FingerprintMismatch
            If the encoder is not the one that made the space; the message names what differs.
        """
        return cls(path, encoder=encoder, device=device, wait_s=wait_s)

    def upsert(
        self,
        items: Any,
        *,
        id: str = ITEM_ID,
        domain: str | None = None,
        domain_column: str | None = None,
        text: str | None = None,
        image: str | None = None,
        audio: str | None = None,
        skip_invalid: bool = False,
        http: bool = False,
        progress: bool = False,
    ) -> AddReport:
        """Add new items and replace changed ones; searchable when it returns.

        Only contents that this space has never encoded go through a model.

        Parameters
        ----------
        items : path, glob, list of those, table, frame, or list of dicts
            Parquet, CSV, TSV, JSON lines, JSON, Arrow or Lance files, Arrow tables, pandas or
            polars frames, or dicts. Columns that are not mapped are kept as typed attributes.
        id, domain, domain_column, text, image, audio : str, optional
            The field mapping, see `FieldMapping`.
        skip_invalid : bool, default False
            Leave invalid rows out (they are listed in the report) rather than refuse them all.
        http : bool, default False
            Whether addresses of images and audio may be fetched.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        AddReport
            What was read, added, changed, left unchanged, quarantined and encoded.

        Raises
        ------
        InvalidItems
            If rows break the rules; nothing is stored then.
        InvalidMapping
            If a mapped column is absent, or an attribute has another type than in the space.
        SpaceLocked
            If another process is writing.
        """
        mapping = FieldMapping(id, domain, domain_column, text, image, audio)
        modalities = frozenset(m for b in self._named_vectors for m in b.modalities)
        reader = ItemReader(items, mapping, modalities)
        with self._ingesting(reader.rows, http=http) as ingest:
            return ingest.add(reader, skip_invalid=skip_invalid, progress=progress)

    def delete(self, item_ids: str | Iterable[str]) -> int:
        """Delete items, at once.

        Returns
        -------
        int
            How many there were; unknown ids are passed over.
        """
        wanted = [item_ids] if isinstance(item_ids, str) else list(item_ids)
        with writing(self.path, "catalog", self._wait_s):
            self._quarantine.settle(wanted, [])
            return self._catalog.delete(wanted)

    def quarantine(self) -> list[dict[str, Any]]:
        """Give what could not be embedded: item, modality, source, reason, time, attempts."""
        return self._quarantine.rows()

    def retry_quarantine(self, *, http: bool = False) -> AddReport:
        """Try again what could not be embedded.

        Returns
        -------
        AddReport
            ``quarantined`` counts the items that failed again.
        """
        failed = sorted({row[ITEM_ID] for row in self._quarantine.rows()})
        with self._ingesting(len(failed), http=http) as ingest:
            return ingest.again(failed)

    def index_text(self) -> None:
        """Make the index of words for hybrid search, or bring it up to date.

        `publish` does so too, and the first hybrid search of a space. Items newer than the index
        are found all the same, only more slowly.

        Raises
        ------
        SpaceLocked
            If another process is writing.
        """
        index_text(self.path, self._catalog, self._wait_s)

    def compact(
        self, *, keep_days: float | None = None, progress: bool = False
    ) -> list[CompactReport]:
        """Merge small files, and drop old versions of the tables.

        Queries go on meanwhile, in this process and in others; so it may run in a thread, or as
        a job of its own beside a service.

        Parameters
        ----------
        keep_days : float, optional
            Versions younger than this stay; by default `keep_versions_days` of ``space.toml``.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        list of CompactReport
            One for each table.

        Raises
        ------
        SpaceLocked
            If another process is writing.
        """
        days = self.settings.index.keep_versions_days if keep_days is None else keep_days
        if days < 0:
            raise InvalidInput(f"keep_days is {days}; give zero or more")
        with (
            writing(self.path, "catalog", self._wait_s),
            writing(self.path, "interactions", self._wait_s),
        ):
            return compact(self.path, days, progress=progress)

    @contextmanager
    def _ingesting(self, rows: int | None, *, http: bool) -> Iterator[Ingest]:
        """Hold the catalog's lock for one batch job."""
        media = MediaStore(self.path / "media", MediaLimits(http=http))
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            peek = is_small(rows, self._catalog.snapshot().rows)
            caches = open_embedding_caches(self.path, self.settings, peek=peek)
            yield Ingest(
                self._catalog,
                self._quarantine,
                media,
                caches,
                self.settings,
                self._encoder_of,
                self._alignment,
            )
