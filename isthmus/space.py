"""The space: one folder, one vector space, many domains; one method a verb."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from isthmus import evaluation, operations
from isthmus.data.interactions.feedback import EventSummary
from isthmus.data.interactions.ingest import InteractionReport
from isthmus.data.media import MediaStore
from isthmus.data.request import DecimalMark
from isthmus.data.times import TimeUnit
from isthmus.encoders.alignment import AlignmentLike
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.registry import EncoderLike
from isthmus.ids import is_single, to_id, to_ids
from isthmus.index.catalog.compact import CompactReport
from isthmus.index.catalog.ingest import AddReport
from isthmus.index.catalog.lock import DEFAULT_WAIT_S
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.content_vectors import ContentVectors
from isthmus.index.releases.manifest import Manifest
from isthmus.index.releases.plan import Plan
from isthmus.index.releases.release import Releases
from isthmus.index.releases.shorter_vectors import ShorterVectors
from isthmus.index.settings import Preference, SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.operations.request import (
    AlignRequest,
    AttributesRequest,
    BackupRequest,
    CastAttributeRequest,
    CreateRequest,
    DeleteRequest,
    DropAttributeRequest,
    FinetuneRequest,
    InteractionsRequest,
    LearnFusionRequest,
    MergeUsersRequest,
    MonitorRequest,
    PlanRequest,
    PrecomputeRequest,
    PublishRequest,
    ReembedRequest,
    RenameAttributeRequest,
    UpdateRequest,
    UpsertRequest,
    UsersRequest,
    VectorsRequest,
    VerifyRequest,
)
from isthmus.operations.verbs import as_verbs
from isthmus.retrieval import recommend, source_domains
from isthmus.retrieval.search.facets import Facets, count_facets
from isthmus.retrieval.search.fusion_weights import FusionReport
from isthmus.retrieval.search.groups import search_groups
from isthmus.retrieval.search.hybrid import index_text
from isthmus.retrieval.search.near_duplicates import find_duplicates
from isthmus.retrieval.search.query_file import QueryFileReport
from isthmus.retrieval.search.quota_request import Quotas
from isthmus.retrieval.search.request import (
    DuplicatesRequest,
    FacetsRequest,
    FilterOptions,
    MapRequest,
    ScrollRequest,
    SearchBatchRequest,
    SearchFileRequest,
    SearchGroupsRequest,
    SearchRequest,
    SimilarRequest,
)
from isthmus.retrieval.search.results import (
    BatchResults,
    Groups,
    Hits,
    ItemPage,
)
from isthmus.retrieval.search.rule_request import Boosts, Caps
from isthmus.retrieval.search.searcher import Searcher
from isthmus.retrieval.search.space_map import SpaceMap, map_space

if TYPE_CHECKING:
    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.encoders.training.settings import AlignmentSettings, FinetuneSettings
    from isthmus.evaluation.logged import AbEvaluation, LogEvaluation
    from isthmus.evaluation.report import Evaluation
    from isthmus.evaluation.request import EvaluationPlan
    from isthmus.evaluation.systems import System
    from isthmus.monitoring.report import MonitorReport
    from isthmus.operations.alignment import AlignReport
    from isthmus.operations.backup import BackupReport
    from isthmus.operations.erasure import CheckedCertificate
    from isthmus.operations.events import Event
    from isthmus.operations.forgetting import ForgottenReport
    from isthmus.operations.fusion_weights import WeightsReport
    from isthmus.operations.precompute import PrecomputeReport
    from isthmus.operations.reembedding import ReembedReport
    from isthmus.operations.users import UserReport
    from isthmus.operations.verify import VerifyReport
    from isthmus.retrieval.recommend.experiments import Experiment
    from isthmus.retrieval.recommend.recommendation_log import RecommendationLog
    from isthmus.retrieval.recommend.request import TrainSettings
    from isthmus.retrieval.recommend.rows import Rows
    from isthmus.retrieval.recommend.settings import RecommenderSettings
    from isthmus.retrieval.recommend.space_recommender import SpaceRecommender
    from isthmus.retrieval.recommend.store import Description
    from isthmus.retrieval.recommend.users import User
    from isthmus.retrieval.source_domains.assessment import SourceReport


IdLike = str | int
Names = str | Sequence[str]


@as_verbs
class Space:
    """A folder that joins the items of many domains in one vector space.

    Get one with `Space.create` or `Space.open`. Several processes may read while one writes; a
    reader sees what another process wrote at its next query. What the arguments of a method mean
    is described once, in its request model (see docs/reference/names.md).

    Attributes
    ----------
    path : Path
        Folder of the space.
    opened : OpenSpace
        Its state (settings, catalog, encoders, live view), for code below the verbs.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: EncoderLike | None = None,
        device: str = "auto",
        wait_s: float = DEFAULT_WAIT_S,
    ) -> None:
        self.opened = OpenSpace(path, encoder=encoder, device=device, wait_s=wait_s)
        self.path = self.opened.path
        self._searcher = Searcher(self.opened)

    def __repr__(self) -> str:
        return f"Space({str(self.path)!r})"

    @cached_property
    def _recommender(self) -> SpaceRecommender:
        return recommend.space_recommender.SpaceRecommender(self.opened)

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
        vectors: Mapping[str, int] | None = None,
        weights: ModalityWeights | None = None,
        recall: float = 0.95,
        device: str = "auto",
        precision: str = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> Space:
        """Create an empty space in a folder that does not exist yet, or is empty.

        An encoder of text and image puts both into one named vector; different encoders, such as
        those of ``local`` (MiniLM and EfficientNet-Lite0), have a named vector each. Vectors of
        one's own, named in `vectors`, come with the items and are not encoded. See `CreateRequest`.

        Raises
        ------
        SpaceExists
            If the folder exists and is not empty.
        UnknownEncoder
            If there is no such encoder.
        FingerprintMismatch
            If the alignment was learned for other encoders.
        InvalidInput
            If a weight or another argument is not valid.

        Examples
        --------
        ``Space.create("shop.space", text_encoder="local/text", weights={"text": 2})``
        ``Space.create("mine.space", "none", vectors={"embedding": 768})``
        """
        request = CreateRequest.of(locals())
        encoders = operations.items.create_space(request)
        return cls(path, encoder=encoders, device=device)

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

        Examples
        --------
        ``Space.open("shop.space", device="cpu")``
        """
        return cls(path, encoder=encoder, device=device, wait_s=wait_s)

    # ---- The space itself

    @property
    def settings(self) -> SpaceSettings:
        """What ``space.toml`` says: encoders, named vectors, fusion weights, index targets."""
        return self.opened.settings

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder stack that made the space."""
        return self.opened.fingerprint

    @property
    def media(self) -> MediaStore:
        """Reader of the files that items refer to."""
        return self.opened.media()

    def status(self) -> dict[str, Any]:
        """Describe the space: items, interactions, release, delta, quarantine, encoders.

        Examples
        --------
        ``space.status()["domains"]``
        """
        return operations.statistics.describe_space(self.opened)

    def compact(
        self, *, keep_days: float | None = None, progress: bool = False
    ) -> list[CompactReport]:
        """Merge small files, drop versions older than `keep_days`, and what no item refers to.

        Stored media and cached embeddings that no item has are removed, and files that killed
        writers left behind. Queries go on meanwhile, in this process and in others: a version that
        one of them is reading stays until the next time. By default `keep_versions_days`
        of ``space.toml`` counts.

        Raises
        ------
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.compact(keep_days=0)``
        """
        return operations.items.compact_space(self.opened, keep_days, progress=progress)

    def monitor(
        self, *, on_alarm: Literal["report", "rollback"] | None = None, seed: int | None = None
    ) -> MonitorReport:
        """Measure what is served: recall, drift of new items, growth, ages; and find alarms.

        Recall@10 of each named vector, kind of query and domain is measured against exact search,
        with an interval. The vectors and attributes of items that came since the release are
        compared with those of the release. Thresholds are those of ``[monitoring]`` in
        ``space.toml``. See `MonitorRequest`.

        Parameters
        ----------
        on_alarm : str, optional
            ``"rollback"`` makes the previous release current if recall is too small; ``"report"``
            does not. By default `on_alarm` of ``space.toml`` counts.
        seed : int, optional
            Of the samples; by default another one each time.

        Examples
        --------
        ``space.monitor().alarms``
        """
        return operations.monitoring.monitor_space(self.opened, MonitorRequest.of(locals()))

    def backup(
        self, to: str | Path, *, keep: int | None = None, progress: bool = False
    ) -> BackupReport:
        """Copy what a place of backups lacks of the space, and verify it there.

        Others may write meanwhile; what is copied is the space at one moment. Each content is
        stored once, so that a backup of a space that has hardly changed costs little.
        `isthmus.restore` makes a space of a backup, `isthmus.backups` lists them. See
        `BackupRequest`.

        Raises
        ------
        CorruptTable
            If a file of the space is damaged; nothing is written then.
        CorruptBackup
            If what was written reads back with another content.

        Examples
        --------
        ``space.backup("backups/shop", keep=7)``
        """
        return operations.backup.back_up(self.opened, BackupRequest.of(locals()), progress=progress)

    def verify(
        self, *, repair: bool = False, drop_damaged: bool = False, progress: bool = False
    ) -> VerifyReport:
        """Read all of the space, name each damaged file, what is lost, and what mends it.

        With `repair`, what follows from something else is mended: indexes, releases, embeddings,
        checksums and copies. Rows that are lost are never made up; with `drop_damaged` they are
        given up, so that the others can be read again. See `VerifyRequest`.

        Raises
        ------
        SpaceLocked
            If another process is writing, and something is to be mended.

        Examples
        --------
        ``space.verify().sound``
        """
        return operations.verify.verify(self.opened, VerifyRequest.of(locals()), progress=progress)

    # ---- Items

    def upsert(
        self,
        items: Any,
        *,
        id: str | None = None,
        domain: str | None = None,
        domain_column: str | None = None,
        text: str | None = None,
        image: str | None = None,
        audio: str | None = None,
        vector: Any = None,
        vectors: Mapping[str, Any] | None = None,
        columns: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        delimiter: str | None = None,
        encoding: str | None = None,
        quote: str | None = None,
        decimal: DecimalMark = ".",
        null_values: str | Sequence[str] = (),
        time_unit: TimeUnit | None = None,
        replace: bool = False,
        remap: bool = False,
        sync: bool = False,
        max_delete: str | int | float = "5%",
        dry_run: bool = False,
        skip_invalid: bool = False,
        http: bool = False,
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        concurrency: str | int | None = None,
        progress: bool = False,
    ) -> AddReport:
        """Add new items and change those that are there; searchable when it returns.

        Items come from Parquet, CSV, TSV, JSON lines, JSON, Arrow or Lance files, Arrow tables,
        pandas or polars frames, or dicts. Only contents that this space has never encoded go
        through a model. Columns that are not mapped are kept as typed attributes. An item that is
        there keeps what the input has no column for, unless `replace` is true. Which columns made
        the id, the text, the media and the vectors of a domain is remembered, and holds for its
        next input. See `UpsertRequest`.

        Returns
        -------
        AddReport
            Counts of rows read, added, changed, unchanged, quarantined, and of contents encoded.

        Raises
        ------
        InvalidItems
            If rows break the rules; nothing is stored then.
        InvalidMapping
            If a mapped column is absent, an attribute has another type than in the space, or the
            mapping contradicts the remembered one.
        InvalidInput
            If `sync` would delete more than `max_delete`; nothing is stored then.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.upsert("films.parquet", domain="films", text="{title}. {genres}")``
        ``space.upsert("films.parquet", domain="films", vectors={"plot": "plot_embedding"})``
        """
        request = UpsertRequest.of(locals())
        return operations.items.upsert_items(self.opened, request, progress=progress)

    def update(
        self,
        items: Any,
        *,
        id: str | None = None,
        domain: str | None = None,
        vector: Any = None,
        vectors: Mapping[str, Any] | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        quote: str | None = None,
        decimal: DecimalMark = ".",
        null_values: str | Sequence[str] = (),
        time_unit: TimeUnit | None = None,
        skip_invalid: bool = False,
        http: bool = False,
        progress: bool = False,
    ) -> AddReport:
        """Change items that are there, in the columns that the input has; searchable at once.

        The input has an id and any other columns, such as prices. Columns that it lacks stay as
        they are. Nothing is encoded unless the text, of which a column may suffice, or a medium
        changes. Ids that no item has are listed in the report, and make no item. See
        `UpdateRequest`.

        Returns
        -------
        AddReport
            Counts of rows read, changed and unchanged, and the unknown ids.

        Raises
        ------
        InvalidItems
            If rows break the rules; nothing is stored then.
        InvalidMapping
            If the input has no column of ids, or a text of its own for a domain whose text is
            made of other columns.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.update("prices.csv").unknown``
        """
        request = UpdateRequest.of(locals())
        return operations.items.update_items(self.opened, request, progress=progress)

    def delete(
        self,
        item_ids: IdLike | Iterable[IdLike] | None = None,
        *,
        domain: Names | None = None,
        where: str | None = None,
        file: Any = None,
    ) -> int:
        """Delete items, at once, and return how many there were; unknown ids are passed over.

        Items are named by id, by a file of ids, or by a filter. With ids and a filter, those are
        deleted that the filter selects among them. Queries of every process see it without a new
        release. See `DeleteRequest`.

        Raises
        ------
        InvalidInput
            If nothing is named.
        InvalidFilter
            If `where` is refused.

        Examples
        --------
        ``space.delete(domain="films", where="year < 1950")``
        """
        return operations.items.delete_items(self.opened, DeleteRequest.of(locals()))

    @overload
    def get(self, item_id: IdLike) -> dict[str, Any]: ...  # type: ignore[overload-overlap]

    @overload
    def get(self, item_id: Iterable[IdLike]) -> list[dict[str, Any]]: ...

    def get(self, item_id: IdLike | Iterable[IdLike]) -> dict[str, Any] | list[dict[str, Any]]:
        """Return an item: id, domain, contents, modalities it is searchable by, attributes.

        Several ids return a list, in their order.

        Raises
        ------
        ItemNotFound
            If there is no such item; the message lists all that are unknown.

        Examples
        --------
        ``space.get("film-1")["attributes"]``, ``space.get(["film-1", "film-2"])``
        """
        ids = to_ids(item_id, "item id")
        items = operations.items.get_items(self.opened, ids)
        return items[0] if is_single(item_id) else items

    def ids(self, domain: Names | None = None, where: str | None = None) -> Iterator[str]:
        """Iterate over the ids of items, of those that a filter selects if given.

        Items that are not searchable, because a content is in quarantine, are among them. The
        catalog is read as it was at the first id, in batches, however long that takes.

        Examples
        --------
        ``list(space.ids("films", where="year >= 2000"))``
        """
        return operations.items.item_ids(self.opened, FilterOptions.of(locals()))

    def scroll(
        self,
        domain: Names | None = None,
        where: str | None = None,
        *,
        k: int = 100,
        cursor: str | None = None,
        attributes: bool = True,
    ) -> ItemPage:
        """Return a page of the items that a filter selects, in the order of their ids.

        Whatever is written between two pages, no item comes twice, and none that was there all the
        time is passed over. Items are as `get` returns them. See `ScrollRequest`.

        Raises
        ------
        InvalidInput
            If the cursor is none, or a domain is unknown.
        InvalidFilter
            If `where` is refused.

        Examples
        --------
        ``page = space.scroll("films"); space.scroll("films", cursor=page.cursor)``
        """
        return operations.scroll.scroll_items(self.opened, ScrollRequest.of(locals()))

    def count(self, domain: Names | None = None, where: str | None = None) -> int:
        """Count the searchable items that a filter selects.

        Examples
        --------
        ``space.count(domain="films", where="year >= 2000")``
        """
        request, view = FilterOptions.of(locals()), self.opened.view()
        selected = view.select(request.domains, request.where)
        return len(view) if selected is None else selected.count

    def vectors(
        self,
        domain: Names | None = None,
        where: str | None = None,
        names: Names | None = None,
        attributes: bool = False,
    ) -> pa.RecordBatchReader:
        """Return the vectors of items as a stream of Arrow batches, of some items if filtered.

        Columns are ``item_id``, ``domain``, and for each named vector one such as ``text_vector``:
        float32 lists of fixed size at unit norm, null where an item has none. The catalog is read
        as it was at the call, in batches of some megabytes. See `VectorsRequest`.

        Raises
        ------
        InvalidInput
            If there is no such named vector, or domain.
        InvalidFilter
            If the predicate is refused.

        Examples
        --------
        ``for batch in space.vectors("films", names="text"): ...``
        """
        return operations.vectors.read_vectors(self.opened, VectorsRequest.of(locals()))

    def attributes(self, domain: Names | None = None) -> list[dict[str, Any]]:
        """Return the attributes of each domain: name, type, share of items filled, examples.

        The type of an attribute belongs to a domain: ``year`` may be a number in films and text
        in wine.

        Raises
        ------
        InvalidInput
            If a domain is unknown.

        Examples
        --------
        ``space.attributes("films")[0]["type"]``
        """
        return operations.attributes.list_attributes(self.opened, AttributesRequest.of(locals()))

    def cast_attribute(
        self,
        domain: str,
        name: str,
        type: str,
        *,
        time_unit: TimeUnit | None = None,
        allow_lossy: bool = False,
    ) -> dict[str, Any]:
        """Cast an attribute of a domain to another type, and convert the values that are there.

        A conversion loses nothing: where a value does not fit, nothing is changed, and the error
        counts and shows what would be lost. With `allow_lossy` fractions are rounded, and times
        become days; what has no value of the type is refused still. See `CastAttributeRequest`.

        Raises
        ------
        InvalidInput
            If there is no such attribute or type, or a value does not fit; the message names the
            items.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.cast_attribute("films", "year", "text")``
        """
        request = CastAttributeRequest.of(locals())
        return operations.attributes.cast_attribute(self.opened, request)

    def rename_attribute(self, domain: str, name: str, new_name: str) -> dict[str, Any]:
        """Rename an attribute of a domain.

        Raises
        ------
        InvalidInput
            If there is no such attribute, or the other name is taken or cannot be one.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.rename_attribute("films", "yr", "year")``
        """
        request = RenameAttributeRequest.of(locals())
        return operations.attributes.rename_attribute(self.opened, request)

    def drop_attribute(self, domain: str, name: str) -> dict[str, Any]:
        """Drop an attribute of a domain, with all its values.

        Raises
        ------
        InvalidInput
            If there is no such attribute.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.drop_attribute("films", "supplier")``
        """
        request = DropAttributeRequest.of(locals())
        return operations.attributes.drop_attribute(self.opened, request)

    def quarantine(self) -> list[dict[str, Any]]:
        """Return what could not be embedded: item, modality, source, reason, time, attempts.

        Examples
        --------
        ``[row["reason"] for row in space.quarantine()]``
        """
        return self.opened.quarantine.rows()

    def retry_quarantine(self, *, http: bool = False) -> AddReport:
        """Encode again what could not be embedded; ``quarantined`` counts what failed again.

        Examples
        --------
        ``space.retry_quarantine(http=True).quarantined``
        """
        return operations.items.retry_quarantine(self.opened, http=http)

    def index_text(self) -> None:
        """Build the full-text index of hybrid search, or bring it up to date.

        `publish` does so too, and the first hybrid search of a space. Items newer than the index
        are found all the same, only more slowly.

        Raises
        ------
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.index_text()``
        """
        index_text(self.path, self.opened.catalog, self.opened.wait_s)

    # ---- Searching

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        vector: FloatArray | Sequence[float] | None = None,
        like: IdLike | Iterable[IdLike] = (),
        unlike: IdLike | Iterable[IdLike] = (),
        k: int | None = 10,
        offset: int = 0,
        cursor: str | None = None,
        domain: Names | None = None,
        where: str | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        normalize_scores: bool = False,
        hubness_correction: float = 0.0,
        center_scores: bool = False,
        attributes: bool = False,
        fingerprint: str | None = None,
        hybrid: bool = False,
        bm25_weight: float = 1.0,
        words: Literal["bm25", "sparse"] = "bm25",
        instruction: str | None = None,
        rerank: str | None = None,
        rerank_depth: int = 50,
        weights: ModalityWeights | None = None,
    ) -> Hits:
        """Find the items nearest to contents (text, image, audio), a vector, or examples.

        With examples the query of each named vector is ``p + (p - n)`` at unit norm, where ``p`` is
        the mean of all that is looked for and of the items to be like, and ``n`` that of the items
        to be unlike; the examples are left out of the result. See `SearchRequest`.

        Returns
        -------
        Hits
            A list of `Hit`, best first, with notes and the cursor of the next page. The score is
            the cosine similarity; for a query in several named vectors, the mean of its
            chance-corrected similarities. In hybrid search it is the sum of
            weight / (60 + rank) over the two rankings (reciprocal rank fusion); with `rerank`
            it is that of the model. `Hit.similarity` has the score by vectors then.

        Raises
        ------
        InvalidInput
            If nothing is looked for, the examples cancel out, or an argument is not valid.
        InvalidFilter
            If `where` is refused.
        ItemNotFound
            If there is no such item to be like or unlike.
        UnsupportedModality
            If the space has no encoder for it, or all the selected items are of other
            modalities, whose encoder was not aligned with that of the query; or a model is to
            read texts of items that have none.
        UnknownEncoder
            If the model of `rerank` cannot be loaded.
        FingerprintMismatch
            If the encoder, or the vector's fingerprint, is not this space's.

        Examples
        --------
        ``space.search("red boots", where="price < 100", k=5)``
        """
        return self._searcher.search(SearchRequest.of(locals()))

    def similar(
        self,
        item_id: IdLike,
        *,
        like: IdLike | Iterable[IdLike] = (),
        unlike: IdLike | Iterable[IdLike] = (),
        k: int | None = 10,
        offset: int = 0,
        cursor: str | None = None,
        domain: Names | None = None,
        where: str | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        normalize_scores: bool = False,
        hubness_correction: float = 0.0,
        center_scores: bool = False,
        attributes: bool = False,
        weights: ModalityWeights | None = None,
    ) -> Hits:
        """Find the items most similar to an item, in its own or in other domains.

        The score is the cosine similarity where the item has one named vector, else the mean of its
        chance-corrected similarities. See `SimilarRequest`.

        Raises
        ------
        ItemNotFound
            If there is no such item, or it has no vector.
        InvalidInput
            If the examples cancel out, or an argument is not valid.

        Examples
        --------
        ``space.similar("film-1", domain="books")``
        """
        return self._searcher.similar(SimilarRequest.of(locals()))

    def search_groups(
        self,
        by: str,
        text: str | None = None,
        *,
        group_size: int = 3,
        image: Any = None,
        audio: Any = None,
        vector: FloatArray | Sequence[float] | None = None,
        like: IdLike | Iterable[IdLike] = (),
        unlike: IdLike | Iterable[IdLike] = (),
        k: int | None = 10,
        offset: int = 0,
        cursor: str | None = None,
        domain: Names | None = None,
        where: str | None = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        normalize_scores: bool = False,
        hubness_correction: float = 0.0,
        center_scores: bool = False,
        attributes: bool = False,
        fingerprint: str | None = None,
        hybrid: bool = False,
        bm25_weight: float = 1.0,
        words: Literal["bm25", "sparse"] = "bm25",
        instruction: str | None = None,
        rerank: str | None = None,
        rerank_depth: int = 50,
        weights: ModalityWeights | None = None,
    ) -> Groups:
        """Find what `search` finds, as the best items of each value of an attribute.

        There are at most k groups of at most `group_size` items, that with the best item first; an
        item whose attribute is a list is in the group of each element. Groups have no cursor, and
        `offset` counts groups. See `SearchGroupsRequest`.

        Raises
        ------
        InvalidInput
            If there is no such attribute, or as `search` does.

        Examples
        --------
        ``space.search_groups("brand", "red boots", group_size=2)``
        """
        request, view = SearchGroupsRequest.of(locals()), self.opened.view()
        return search_groups(view, request, self._searcher.search)

    def facets(
        self,
        attributes: Names,
        *,
        domain: Names | None = None,
        where: str | None = None,
        k: int | None = 10,
    ) -> Facets:
        """Count the values of attributes among the searchable items that a filter selects.

        The counts are exact. An item that has a list counts for each of its elements. See
        `FacetsRequest`.

        Returns
        -------
        dict of str to list of dict
            For each attribute its values and their counts, the most frequent first.

        Raises
        ------
        InvalidInput
            If there is no such attribute or domain.
        InvalidFilter
            If `where` is refused.

        Examples
        --------
        ``space.facets(["genre", "year"], where="price < 100")["genre"][0]["count"]``
        """
        return count_facets(self.opened.view(), FacetsRequest.of(locals()))

    def search_batch(
        self,
        vectors: FloatArray,
        *,
        k: int = 10,
        domain: Names | None = None,
        where: str | None = None,
        fingerprint: str | None = None,
        weights: ModalityWeights | None = None,
    ) -> BatchResults:
        """Find the items nearest to each of many vectors, with the least work per query.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, dim) for the dim of one named vector; brought to unit norm.
        k, domain, where, fingerprint, weights
            As in `search`.

        Returns
        -------
        BatchResults
            Item ids and scores, each of shape (n, k).

        Raises
        ------
        InvalidInput
            If k, a domain or a vector is not valid; the message names the vector.
        InvalidFilter
            If `where` is refused.
        FingerprintMismatch
            If the vectors' fingerprint is not this space's.

        Examples
        --------
        ``space.search_batch(vectors, k=100).item_ids``
        """
        return self._searcher.search_batch(SearchBatchRequest.of(locals()))

    def search_file(
        self,
        queries: Any,
        out: str | Path,
        *,
        k: int = 10,
        domain: Names | None = None,
        where: str | None = None,
        instruction: str | None = None,
        hybrid: bool = False,
        bm25_weight: float = 1.0,
        words: Literal["bm25", "sparse"] = "bm25",
        rerank: str | None = None,
        rerank_depth: int = 50,
        weights: ModalityWeights | None = None,
        progress: bool = False,
    ) -> QueryFileReport:
        """Answer a file of queries into a Parquet file, all from one view of the space.

        A row has a query_id and one or several of text, image and audio (path, bytes or data
        URI), or a vector. Paths are relative to the file. Hybrid search and `rerank` need a text
        in each. See `SearchFileRequest`.

        Returns
        -------
        QueryFileReport
            Counts of queries read, answered and written. A query that cannot be answered is
            among its problems with the reason.

        Raises
        ------
        InvalidInput
            If k or a domain is not valid, the input cannot be read, a query_id is missing or
            repeated (the message names the row), or `out` cannot be written.
        InvalidFilter
            If `where` is refused.

        Examples
        --------
        ``space.search_file("queries.csv", "hits.parquet", k=100)``
        """
        return self._searcher.search_file(SearchFileRequest.of(locals()), progress=progress)

    def duplicates(
        self,
        threshold: float = 0.95,
        *,
        domain: Names | None = None,
        where: str | None = None,
        vector_name: str | None = None,
        progress: bool = False,
    ) -> pa.Table:
        """Find the groups of near-duplicate items, within and across domains.

        A group holds the items that are linked by pairs of at least the threshold. Neighbours
        come from the index: exact where it is, else with its recall. See `DuplicatesRequest`.

        Returns
        -------
        pyarrow.Table
            One row a member: group (from 1, the largest first), item_id, domain, score (cosine
            with the representative), closest (with the nearest member) and representative (item
            id of the member nearest to the mean of the group; its own row comes first).

        Raises
        ------
        InvalidInput
            If the threshold, a domain or the named vector is not valid.
        InvalidFilter
            If `where` is refused.

        Examples
        --------
        ``space.duplicates(0.98, domain="products", vector_name="image")``
        """
        request, view = DuplicatesRequest.of(locals()), self.opened.view()
        selected = view.select(request.domains, request.where)
        return find_duplicates(
            view, request.threshold, selected, request.vector_name, show=progress
        )

    def map(
        self,
        *,
        domain: Names | None = None,
        where: str | None = None,
        vector_name: str | None = None,
        limit: int = 5_000,
        layout: Literal["umap", "components"] = "umap",
        seed: int = 0,
    ) -> SpaceMap:
        """Lay the contents of items out on a plane, similar ones close together.

        Each text, image and audio of an item is a point of its own; nothing is encoded. See
        `MapRequest`.

        Raises
        ------
        InvalidInput
            If a domain, the named vector or the limit is not valid, or there is nothing to draw.
        InvalidFilter
            If `where` is refused.
        MissingDependency
            If umap-learn is not installed (extra ``map``), and the layout is that of UMAP.

        Examples
        --------
        ``space.map(domain=["films", "books"]).save("map.png")``
        """
        request, view = MapRequest.of(locals()), self.opened.view()
        selected = view.select(request.domains, request.where)
        contents = ContentVectors(self.path, self.settings)
        return map_space(view, contents, selected, request)

    # ---- Interactions

    def add_interactions(
        self,
        source: Any,
        *,
        user: str = "user_id",
        item: str = "item_id",
        value: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        event: str | None = None,
        event_column: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        quote: str | None = None,
        decimal: DecimalMark = ".",
        null_values: str | Sequence[str] = (),
        time_unit: TimeUnit | None = None,
        skip_invalid: bool = False,
        progress: bool = False,
    ) -> InteractionReport:
        """Add interactions of users with items.

        Every event is kept; only a row that repeats another one exactly, in user, item, event,
        value, weight and time, is left out. So adding the same again changes nothing. An event may
        have no value (null). How events count is decided when they are used, see `events` and
        `train`. Interactions with items that the catalog does not hold are stored and
        count once the item is added. See `InteractionsRequest`.

        Returns
        -------
        InteractionReport
            Counts of rows read, added, unchanged and repeated, and the unknown items.

        Raises
        ------
        InvalidInteractions
            If a row has no user or item, or a value, weight or time that is not valid; nothing
            is stored then.
        InvalidMapping
            If a mapped column is absent, or has a type that cannot be what it is mapped to.
        SpaceLocked
            If another process is writing interactions.

        Examples
        --------
        ``space.add_interactions("ratings.csv", item="film-{movie_id}", value="rating")``
        """
        request = InteractionsRequest.of(locals())
        return operations.interactions.store_interactions(self.opened, request, progress=progress)

    def record_events(self, events: Iterable[Event | Mapping[str, Any]]) -> InteractionReport:
        """Record events that have ids of their own; one that is sent again changes nothing.

        An event has an ``event_id``, a ``user_id`` and an ``item_id``, and may have a kind
        (``event``), a ``value``, a ``weight`` and a ``time``. It counts as soon as this returns:
        lists of the user take it into account. See `Event`.

        Returns
        -------
        InteractionReport
            Counts of events that were new (``added``), known (``unchanged``) or twice in the input.

        Raises
        ------
        InvalidInteractions
            If an event is not valid; the message names its place, and nothing is stored.
        SpaceLocked
            If another process is writing interactions.

        Examples
        --------
        ``space.record_events([{"event_id": "e1", "user_id": "u7", "item_id": "film-1"}])``
        """
        return operations.events.record_events(
            self.opened, operations.events.RecordEventsRequest.of(locals())
        )

    def interactions(
        self, user_id: IdLike | Iterable[IdLike] | None = None, *, waiting: bool = False
    ) -> pa.Table:
        """Return the interactions of a user, of some users, or of all.

        Parameters
        ----------
        user_id : str or list of str, optional
            Whose interactions; all users by default.
        waiting : bool, default False
            Whether to return those too whose item the catalog does not hold (yet).

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, event, value (float32), weight (float32) and time
            (microseconds, UTC). With users named, by user, each one's oldest first.

        Examples
        --------
        ``space.interactions("user-7").to_pylist()``
        """
        user_ids = None if user_id is None else to_ids(user_id, "user id")
        return operations.interactions.read_interactions(self.opened, user_ids, waiting=waiting)

    def events(
        self,
        event_weights: Mapping[str, float] | None = None,
        *,
        positive_from: float | None = None,
        half_life_days: float | None = None,
    ) -> EventSummary:
        """Return how a training would use the stored events, with counts; nothing is trained.

        Raises
        ------
        InvalidInput
            If there are no interactions, or an argument is not valid.

        Examples
        --------
        ``print(space.events({"view": 0}).describe())``
        """
        request = recommend.request.EventsRequest.of(locals())
        return operations.interactions.summarize_events(self.opened, request)

    def forget_user(self, user_id: IdLike) -> int:
        """Delete all that is stored of a user, at once and in every process.

        Returns
        -------
        int
            The number of interactions that were deleted; the user's attributes and logged
            recommendations go with them.

        The bytes leave the disk with ``compact(keep_days=0)`` or, when they are older than
        `keep_versions_days` of ``space.toml``, with `publish`, as those of all old versions do.

        Raises
        ------
        SpaceLocked
            If another process is writing interactions.

        Examples
        --------
        ``space.forget_user("user-7")``
        """
        self._recommender.log.forget(to_id(user_id, "user id"))
        return operations.interactions.forget_user(self.opened, to_id(user_id, "user id"))

    def verify_forgotten(self, user_id: IdLike, *, progress: bool = False) -> ForgottenReport:
        """Search all of the space for what is left of a user who was forgotten.

        Rows are looked for in every version of the tables of users, and every byte of the space is
        searched for the id and for its MD5, SHA and BLAKE2b digests. The report says what was
        searched, and what is left, with the command that removes it.

        Examples
        --------
        ``assert space.verify_forgotten("user-7").forgotten``
        """
        found = to_id(user_id, "user id")
        return operations.forgetting.verify_forgotten(self.opened, found, progress=progress)

    def erase_user(
        self,
        user_id: IdLike,
        *,
        certificate: str | Path,
        signing_key: str | Path,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Forget a user, clear the disk, search the space, and write a signed certificate.

        As `forget_user`, ``compact(keep_days=0)`` and `verify_forgotten` in turn. The certificate
        is JSON: what was deleted, the tables of users before and after with digests of their
        files, what was searched, what is left, and which releases have a recommender that learned
        from events that are deleted by now, and until when. It names the user by a salted digest.

        Parameters
        ----------
        user_id : str
            The user.
        certificate : str or Path
            File to write, outside the space.
        signing_key : str or Path
            PEM of an Ed25519 key; made there, readable by its owner alone, if there is none.
        progress : bool, default False
            Whether to show progress bars.

        Returns
        -------
        dict
            The content of the certificate.

        Raises
        ------
        InvalidInput
            If the certificate would stand in the space, or the key is of another kind.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.erase_user("user-7", certificate="erased.json", signing_key="erasure.pem")``
        """
        found = to_id(user_id, "user id")
        self._recommender.log.forget(found)
        return operations.erasure.erase_user(
            self.opened, found, Path(certificate), Path(signing_key), progress=progress
        )

    def check_certificate(
        self, certificate: str | Path, user_id: IdLike, *, progress: bool = False
    ) -> CheckedCertificate:
        """Check the signature of a certificate of erasure, and search the space for the user again.

        Raises
        ------
        InvalidInput
            If it was changed since it was signed, or is of another user.

        Examples
        --------
        ``assert space.check_certificate("erased.json", "user-7").search.forgotten``
        """
        found = to_id(user_id, "user id")
        return operations.erasure.check_certificate(
            self.opened, Path(certificate), found, progress=progress
        )

    # ---- Users

    def export_user(self, user_id: IdLike) -> dict[str, Any]:
        """Return all that is stored of a user, as plain values; for a request of access, say.

        Returns
        -------
        dict
            ``user_id``; ``exported`` (when); ``former_ids``, from which users were merged into
            this one; ``attributes``; ``interactions`` and logged ``recommendations``, the oldest
            first; ``not_included``: what may hold the user elsewhere. Times are in ISO 8601. Of a
            user of whom nothing is stored, all lists are empty.

        Examples
        --------
        ``json.dump(space.export_user("user-7"), file)``
        """
        return operations.user_export.export_user(self.opened, to_id(user_id, "user id"))

    def add_users(
        self,
        source: Any,
        *,
        user: str = "user_id",
        columns: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        delimiter: str | None = None,
        encoding: str | None = None,
        quote: str | None = None,
        decimal: DecimalMark = ".",
        null_values: str | Sequence[str] = (),
        time_unit: TimeUnit | None = None,
        skip_invalid: bool = False,
        progress: bool = False,
    ) -> UserReport:
        """Add users with their attributes, or change those that are there.

        Every column but the id is an attribute: age band, country, segment, device, free text. They
        are typed as those of items are. Attributes that the input has no column for stay; a null is
        unknown. Users need not have interactions. All rows are stored at once, or none. See
        `UsersRequest`.

        Returns
        -------
        UserReport
            Counts of users added, changed and unchanged, and the types of the attributes.

        Raises
        ------
        InvalidUsers
            If a row has no user, a user stands in two rows, or a value does not fit the type of its
            attribute; nothing is stored then.
        InvalidMapping
            If a named column is absent, or cannot be an attribute.
        SpaceLocked
            If another process is writing interactions or users.

        Examples
        --------
        ``space.add_users([{"user_id": "user-7", "country": "NL", "age": 34}])``
        """
        return operations.users.add_users(self.opened, UsersRequest.of(locals()), progress=progress)

    def users(self, user_ids: IdLike | Iterable[IdLike]) -> list[dict[str, Any]]:
        """Return users with their attributes, in the order of the ids; unknown values are None.

        Raises
        ------
        InvalidInput
            If a user has no attributes in the space.

        Examples
        --------
        ``space.users("user-7")[0]["country"]``
        """
        return operations.users.read_users(self.opened, to_ids(user_ids, "user id"))

    def user_ids(self) -> list[str]:
        """Return the ids of the users that have attributes, ascending."""
        ids: list[str] = self.opened.users.table().column("user_id").to_pylist()
        return ids

    def delete_users(self, user_ids: IdLike | Iterable[IdLike]) -> int:
        """Delete the attributes of users; return of how many there were some.

        Their interactions stay: `forget_user` deletes all that is stored of a user.

        Raises
        ------
        SpaceLocked
            If another process is writing interactions or users.
        """
        return operations.users.delete_users(self.opened, to_ids(user_ids, "user id"))

    def merge_users(self, user_id: IdLike, into: IdLike) -> int:
        """Make one user of two: an anonymous one and the one that signs in, say.

        The interactions and the logged recommendations of the first become those of the second,
        an event that both have once; attributes of the first are kept where the second has none.
        Events of the first that are added later are stored as those of the second, until one of
        them is forgotten. Done again, it changes nothing.

        Returns
        -------
        int
            The number of interactions that the first user had.

        Raises
        ------
        InvalidInput
            If both are the same.

        Examples
        --------
        ``space.merge_users("visitor-3", into="user-7")``
        """
        request = MergeUsersRequest.of(locals())
        self._recommender.log.flush()
        return operations.users.merge_users(self.opened, request)

    def user_attributes(self) -> list[dict[str, Any]]:
        """Return name, type, share of users with a value, and examples of each user attribute."""
        return operations.users.list_user_attributes(self.opened)

    # ---- Recommending

    def recommend(
        self,
        user: User,
        *,
        k: int = 10,
        offset: int = 0,
        cursor: str | None = None,
        domain: Names | None = None,
        where: str | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        min_relevance: float = 0.0,
        exclude_shown_for: str | None = None,
        explore: float = 0.0,
        attributes: bool = False,
        explain: bool = False,
        log: bool = False,
        experiment: Experiment | Mapping[str, Any] | None = None,
    ) -> Hits:
        """Recommend items of a domain to a user known in any domain.

        With a trained recommender in the release (see `train`) candidates come from many
        generators and the ranker of the domain orders them; the score is the expected share of
        the user's next choices. The less is known of a user, the closer the list is to the
        popular items. Without one, items are found by content: the score is the share of the
        user's attention that an interest has over the item's rank in it. Items of the history are
        left out; stored interactions of ``user.id`` are read anew each time. Business rules act
        on the places that items have without them. See `RecommendRequest`.

        Raises
        ------
        InvalidInput
            If an argument is not valid, or `explain` is set and there is no trained ranker.

        Examples
        --------
        ``space.recommend(User(history=["film-1"]), domain="books", k=5)``
        """
        return self._recommender.recommend(recommend.request.RecommendRequest.of(locals()))

    def recommend_batch(
        self,
        users: Iterable[User | tuple[str, User]],
        *,
        k: int = 10,
        domain: Names | None = None,
        where: str | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        min_relevance: float = 0.0,
        exclude_shown_for: str | None = None,
        processes: int = 1,
        progress: bool = False,
    ) -> pa.Table:
        """Recommend to many users at once, to each as `recommend` does.

        Users have an id, or come as pairs of a name and a user. Several processes are forked, on
        Linux, and share what is loaded; elsewhere, and where a GPU is in use, this one answers
        alone. A program whose other threads are at work meanwhile should use one. See
        `RecommendBatchRequest`.

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, rank and score.

        Raises
        ------
        InvalidInput
            If an argument is not valid, or a user has no name.

        Examples
        --------
        ``space.recommend_batch([User(id="user-7"), ("guest", User())], domain="books")``
        """
        request = recommend.request.RecommendBatchRequest.of(locals())
        return self._recommender.recommend_batch(request, progress=progress)

    def recommend_rows(
        self,
        user: User,
        *,
        k: int = 10,
        n_rows: int = 8,
        because: int = 2,
        categories: int = 2,
        by: str | None = None,
        domain: Names | None = None,
        where: str | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        min_relevance: float = 0.0,
        exclude_shown_for: str | None = None,
        attributes: bool = False,
    ) -> Rows:
        """Recommend several titled rows of k items to a user, as for a page; no item comes twice.

        The rows are, in this order: the list of `recommend`; items that go with each of the last
        liked items of the history; values of an attribute that the user's list has most of; items
        that came since the training (or the release); popular items. An item stands in the first
        row that has it, and a row of its own topic with less than half of its places filled is
        left out. The arguments that `recommend` has too hold in every personal row; pinned items
        come once, and the row of popular items follows `domain`, `where` and `ban` alone. See
        `RecommendRowsRequest`.

        Raises
        ------
        InvalidInput
            If an argument is not valid.

        Examples
        --------
        ``[(row.title, len(row.hits)) for row in space.recommend_rows(User(id="ann"), k=6)]``
        """
        return self._recommender.recommend_rows(recommend.request.RecommendRowsRequest.of(locals()))

    def recommend_users(self, item_id: IdLike, *, k: int = 10) -> list[dict[str, Any]]:
        """Return the users to tell about an item, with ``rank`` and ``score``.

        The users whose stored interactions hold most of what goes with the item, in any domain;
        users who have an interaction with the item are left out. What goes with it is learned
        from interactions, or by content where there is no trained recommender. Scores compare the
        users of one item. See `RecommendUsersRequest`.

        Raises
        ------
        ItemNotFound
            If there is no such item.

        Examples
        --------
        ``[row["user_id"] for row in space.recommend_users("film-1", k=100)]``
        """
        request = recommend.request.RecommendUsersRequest.of(locals())
        return self._recommender.recommend_users(request)

    def recommend_file(
        self,
        users: str | Path,
        out: str | Path,
        *,
        k: int = 10,
        domain: Names | None = None,
        where: str | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        scenario: str | None = None,
        min_relevance: float = 0.0,
        exclude_shown_for: str | None = None,
        processes: int = 1,
        progress: bool = False,
    ) -> dict[str, int]:
        """Recommend to every user of a file, into a Parquet file; see `RecommendFileRequest`.

        Returns
        -------
        dict of str to int
            Number of users read, of rows written, and of unknown users.

        Raises
        ------
        InvalidInput
            If an argument is not valid, the file cannot be read, a user id is missing or
            repeated, or `out` cannot be written.

        Examples
        --------
        ``space.recommend_file("users.parquet", "lists.parquet", domain="books")``
        """
        request = recommend.request.RecommendFileRequest.of(locals())
        return self._recommender.recommend_file(request, progress=progress)

    @property
    def recommendation_log(self) -> RecommendationLog:
        """The log of recommendations: what waits in this process, and `flush`."""
        return self._recommender.log

    def recommendations(self, user_id: IdLike | None = None) -> pa.Table:
        """Return the logged recommendations to a user, or all of them, oldest first.

        Those that wait in this process are stored first.

        Returns
        -------
        pyarrow.Table
            A row a list: recommendation_id, user_id, time, release, scenario, experiment, arm,
            request (JSON), offset, and lists of item_id, score, propensity and explored.
        """
        return operations.recommendations.read_recommendations(
            self.opened, self._recommender.log, None if user_id is None else to_id(user_id)
        )

    def scenarios(self) -> dict[str, dict[str, Any]]:
        """Return the scenarios of the space, named sets of business rules: the rules of each."""
        return operations.scenarios.list_scenarios(self.opened)

    def set_scenario(
        self,
        name: str,
        *,
        domain: Names | None = None,
        where: str | None = None,
        diversity: float = 0.0,
        num_candidates: int | None = None,
        quotas: Quotas | None = None,
        boost: Boosts | None = None,
        pin: IdLike | Iterable[IdLike] = (),
        ban: IdLike | Iterable[IdLike] = (),
        caps: Caps | None = None,
        min_relevance: float = 0.0,
        exclude_shown_for: str | None = None,
        explore: float = 0.0,
    ) -> dict[str, Any]:
        """Store a scenario, in the place of one of its name, and return its rules.

        Requests name it by ``scenario=``. The rules stand in ``scenarios.toml`` of the space, which
        may be edited by hand. See `ScenarioRequest`.

        Raises
        ------
        InvalidInput
            If a rule is not valid in this space; the message names the scenario and the rule.

        Examples
        --------
        ``space.set_scenario("home", boost={"on_sale": 2}, caps={"brand": 2})``
        """
        return operations.scenarios.set_scenario(
            self.opened, recommend.request.ScenarioRequest.of(locals())
        )

    def delete_scenario(self, name: str) -> None:
        """Delete a scenario.

        Raises
        ------
        InvalidInput
            If there is none of this name.
        """
        operations.scenarios.delete_scenario(self.opened, name)

    def predict_ratings(self, user: User, item_ids: IdLike | Iterable[IdLike]) -> FloatArray:
        """Predict the ratings that a user would give items.

        The stored values of ``user.id`` and ``user.ratings`` count, the latter where an item has
        both. Without any value, the prediction is the item's own level.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_items,), within the scale of the values that were learned from.

        Raises
        ------
        InvalidInput
            If the release has no rating model.
        ItemNotFound
            If the space does not hold an item, or its domain is newer than the training.

        Examples
        --------
        ``space.predict_ratings(User(id="user-7"), ["film-1", "film-2"])``
        """
        request = recommend.request.PredictRatingsRequest.of(locals())
        return self._recommender.predict_ratings(request)

    def source_domains(
        self,
        target: str,
        *,
        measure: bool = True,
        positive_from: float | None = None,
        seed: int = 0,
    ) -> SourceReport:
        """Rank the other domains by what they are worth to recommend in a target domain.

        Each is described by its size, density and age, by the users that it shares with the
        target, by the distance between the contents of their items, and by what its histories
        are worth to simulated cold-start users of the target. Nothing is written; `train`
        measures the same and ignores, for this target, the domains that hurt. See
        `SourceDomainsRequest`.

        Raises
        ------
        InvalidInput
            If there is no such domain, or there are no interactions.

        Examples
        --------
        ``[source.domain for source in space.source_domains("books").sources]``
        """
        request = recommend.request.SourceDomainsRequest.of(locals())
        interactions, feedback = self.opened.training_interactions(request.positive_from)
        view, weights = self.opened.view(), self.opened.vector_weights
        data = recommend.space_data.space_training_data(
            view, weights, interactions, feedback=feedback
        )
        return source_domains.assessment.assess_sources(
            data, request.target, measure=request.measure, seed=request.seed
        )

    def train(
        self,
        targets: Names | None = None,
        *,
        pretrain: Names | None = None,
        start_from: str | Path | None = None,
        event_weights: Mapping[str, float] | None = None,
        positive_from: float | None = None,
        half_life_days: float | None = None,
        private: bool = False,
        epsilon: float | None = None,
        delta: float | None = None,
        settings: TrainSettings | RecommenderSettings | None = None,
        progress: bool = False,
    ) -> Description:
        """Train candidate generators and rankers on the stored interactions.

        What was trained becomes part of the next release: run `publish` after it. A training
        that was interrupted resumes when it is started again on the same items and interactions
        with the same settings. See `TrainRequest` and `TrainSettings`.

        With `private`, what is trained is differentially private: it would be nearly the same
        without any one user, in the sense of `epsilon` and `delta`. What was spent is recorded in
        the space before anything is computed, and a training that would exceed the
        ``total_epsilon`` of ``space.toml`` is refused.

        Returns
        -------
        Description
            What was trained, and the report of each ranker.

        Raises
        ------
        InvalidInput
            If there are too few interactions, a domain is unknown, or the privacy budget is not
            valid or exhausted.
        SpaceLocked
            If another process is training.

        Examples
        --------
        ``space.train("books", pretrain=["films"])``
        """
        return operations.training.train(
            self.opened, recommend.request.TrainRequest.of(locals()), settings, progress=progress
        )

    def evaluate(
        self,
        plan: EvaluationPlan | None = None,
        *,
        systems: Mapping[str, System] | None = None,
        out: str | Path | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Measure how well systems recommend, on interactions that are hidden from them.

        For each protocol and target domain, every baseline is tuned on validation users, and all
        systems rank all items of the target; nothing is sampled. The space itself takes part as
        ``"isthmus"`` (what `train` makes of the train table of the task), ``"isthmus ratings"``
        (for values), and ``"interests"`` (recommendations without training). With
        ``plan.scenario`` the rules of scenarios are measured: ``"isthmus + NAME"`` is compared with
        ``"isthmus"`` on the same users, in `TaskResult.ablations`.

        Parameters
        ----------
        plan : EvaluationPlan, optional
            Protocols, targets, baselines, metrics; by default every protocol in every domain
            that has interactions.
        systems : mapping of str to Recommender, Rater, SystemFactory or callable, optional
            Further systems by name. A function is called for each protocol with the task of the
            split ``"val"``, and returns the system; a `SystemFactory` says in addition what it
            can do and which settings its answers depend on.
        out : path, optional
            A folder for ``evaluation.json`` and ``evaluation.html``. It caches every answer too:
            an evaluation that was interrupted resumes.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        Evaluation
            All metrics with intervals and paired tests; `skipped` has the protocols for which
            there is too little data, with the reasons.

        Raises
        ------
        InvalidInput
            If a domain, a protocol, a baseline or a system is unknown, there are no
            interactions, or every protocol is skipped.

        Examples
        --------
        ``space.evaluate(EvaluationPlan(targets=["books"], protocols=["cold"]), out="report")``
        """
        from isthmus.evaluation.run import run_evaluation

        plan = plan or evaluation.request.EvaluationPlan()
        data = operations.evaluation.evaluation_data(
            self.opened, systems or {}, plan.systems, plan.scenario
        )
        return run_evaluation(plan, data, out=None if out is None else Path(out), show=progress)

    def evaluate_log(
        self,
        *,
        scenario: str | None = None,
        reward: str = "click",
        lists: int = 5_000,
        resamples: int = 2_000,
        seed: int = 0,
        progress: bool = False,
    ) -> LogEvaluation:
        """Estimate what the lists of a scenario would have earned, from lists that were logged.

        Every logged list is made anew by the present release, under the rules of the scenario and
        without exploration, from what was stored of its user before. Where both show the same item
        at a place, its events count, by the propensity with which it was shown. So the estimate
        knows as much as exploration let happen. See `EvaluateLogRequest`.

        Returns
        -------
        LogEvaluation
            Successes a place as logged, and by IPS, SNIPS and doubly robust, with intervals.

        Raises
        ------
        InvalidInput
            If nothing was logged, no event names a list, or there is no such scenario.
        """
        request = evaluation.logged.EvaluateLogRequest.of(locals())
        return operations.log_evaluation.evaluate_logged(
            self.opened, self._recommender, request, progress=progress
        )

    def evaluate_ab(
        self,
        experiment: str,
        *,
        control: str | None = None,
        reward: str = "click",
        resamples: int = 2_000,
        seed: int = 0,
    ) -> AbEvaluation:
        """Compare the arms of an A/B test by its logged lists, see `EvaluateAbRequest`.

        Returns
        -------
        AbEvaluation
            Successes a place of each arm with its interval, and the differences from the control
            with p-values that stay valid however often one looks.

        Raises
        ------
        InvalidInput
            If fewer than two arms were logged, or no event names a list.
        """
        return operations.log_evaluation.evaluate_experiment(
            self.opened, self._recommender, evaluation.logged.EvaluateAbRequest.of(locals())
        )

    # ---- Releases

    def publish(
        self,
        *,
        recall: float | None = None,
        latency_ms: float | None = None,
        memory: int | str | None = None,
        prefer: Preference | None = None,
        retrain: bool = False,
        rebuild: bool = False,
        keep_recommender: bool = False,
        progress: bool = False,
    ) -> Manifest:
        """Build a release of the catalog, measure it, and make it current.

        The first time, and when the targets or the size of the catalog change, every index recipe
        is measured on a sample and the cheapest that meets the targets is built; after that the
        trained index is filled with the present catalog. Versions of the tables older than
        `keep_versions_days` of ``space.toml`` are dropped at the end. See `PublishRequest`.

        Returns
        -------
        Manifest
            The release: number, items, recipes, measured recall, and the plan.

        Raises
        ------
        ImpossibleTargets
            If no recipe meets the targets; the message names the nearest possible ones.
        ReleaseRejected
            If the release misses a target, or a trained ranker loses to one of its own
            generators; it is kept, and the current one stays.
        SpaceLocked
            If another process is publishing.

        Examples
        --------
        ``space.publish(recall=0.98, latency_ms=5)``
        """
        return operations.publishing.publish(
            self.opened, PublishRequest.of(locals()), progress=progress
        )

    @overload
    def plan(
        self,
        *,
        rows: int | None = None,
        recall: float | None = None,
        latency_ms: float | None = None,
        memory: int | str | None = None,
        prefer: Preference | None = None,
        progress: bool = False,
    ) -> list[Plan]: ...

    @overload
    def plan(self, *, dims: Sequence[int]) -> list[ShorterVectors]: ...

    def plan(
        self,
        *,
        rows: int | None = None,
        recall: float | None = None,
        latency_ms: float | None = None,
        memory: int | str | None = None,
        prefer: Preference | None = None,
        dims: Sequence[int] = (),
        progress: bool = False,
    ) -> list[Plan] | list[ShorterVectors]:
        """Measure every index recipe on a sample of the catalog, and build nothing.

        With more `rows` than the sample, figures are extrapolated from two sample sizes, and
        `Plan.extrapolated` says so. With `dims`, what vectors of so many values would find and
        cost is measured in the place of recipes, against all values. See `PlanRequest`.

        Returns
        -------
        list of Plan, or of ShorterVectors
            One for each named vector that holds vectors; with `dims` one for each number of values,
            too.

        Examples
        --------
        ``space.plan(rows=1_000_000_000, memory="64GiB")``
        """
        request = PlanRequest.of(locals())
        if request.dims:
            return operations.publishing.measure_dims(self.opened, request)
        return operations.publishing.plan(self.opened, request, progress=progress)

    def releases(self) -> list[Manifest]:
        """Return the kept releases, oldest first.

        Examples
        --------
        ``[release.number for release in space.releases()]``
        """
        return [release.manifest for release in Releases(self.path).all()]

    @property
    def current_release(self) -> int | None:
        """Number of the current release; None before the first."""
        return Releases(self.path).current_number()

    def rollback(self, number: int | None = None) -> int:
        """Make an earlier release current, by default the newest accepted one before the current.

        Items stay as they are in the catalog. If the release was made with other encoders,
        another alignment or other fusion weights, the space switches back to these, and the
        vectors of its items are made anew out of the embedding caches; they are compared exactly
        until `publish`.

        Returns
        -------
        int
            Number of the release that is current now.

        Raises
        ------
        ReleaseNotFound
            If there is no such release.
        ReleaseRejected
            If it missed its recall target.
        CorruptRelease
            If a file of it is damaged; the current release stays.
        FingerprintMismatch
            If the space does not know the encoders that it was made with.

        Examples
        --------
        ``space.rollback()``
        """
        return operations.publishing.rollback(self.opened, number)

    # ---- Encoders, alignment and fusion

    def reembed(
        self,
        encoder: str | Encoder | None = None,
        *,
        text_encoder: str | Encoder | None = None,
        image_encoder: str | Encoder | None = None,
        audio_encoder: str | Encoder | None = None,
        alignment: AlignmentLike = "auto",
        drop_recommender: bool = False,
        precision: str = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        http: bool = False,
        progress: bool = False,
    ) -> ReembedReport:
        """Move the space to other encoders while it serves.

        Every content is encoded into an embedding cache of its own; an interrupted run resumes.
        Then a release is built of the new vectors and measured, and only if it is accepted the
        space switches: settings, vectors and release at once. Processes that have the space
        open are asked to open it again. `rollback` switches back. Nothing is encoded where the
        encoders are those of the space, even at another path. See `ReembedRequest`.

        Raises
        ------
        InvalidInput
            If no encoder is given.
        UnsupportedModality
            If the space has nothing that the encoder could take.
        UnsupportedOperation
            If there is a trained recommender, and it is not to be dropped.
        ReleaseRejected
            If the release misses its targets; the space stays as it was.
        SpaceLocked
            If another process re-embeds the space, or is writing for long.

        Examples
        --------
        ``space.reembed(text_encoder="sentence-transformers/all-mpnet-base-v2")``
        """
        return operations.reembedding.reembed(
            self.opened, ReembedRequest.of(locals()), progress=progress
        )

    def align(
        self,
        pairs: Any = None,
        *,
        text: str | None = None,
        image: str | None = None,
        http: bool = False,
        settings: AlignmentSettings | None = None,
        progress: bool = False,
    ) -> AlignReport:
        """Learn projection heads that bring text and images of different encoders into one space.

        Vectors come from the embedding caches, so nothing is encoded again. The space has one
        more named vector then, ``aligned``; those of the encoders stay. Where a release is
        current, one with the alignment is published in its place, and `rollback` undoes both. See
        `AlignRequest` and `AlignmentSettings`.

        Returns
        -------
        AlignReport
            Pairs, recall on held-out pairs, and the problems of pairs that could not be used.

        Raises
        ------
        InvalidInput
            If there are too few pairs, or columns are named and no pairs given.
        UnsupportedOperation
            If the space has no encoder of text and image, or one for both.
        ReleaseRejected
            If the release misses its targets; the space has its former alignment again.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.align("captions.parquet", text="caption", image="file")``
        """
        return operations.alignment.align(
            self.opened, AlignRequest.of(locals()), settings, progress=progress
        )

    @property
    def weights(self) -> dict[str, float]:
        """Fusion weight of each modality."""
        return operations.fusion_weights.modality_weights(self.opened)

    def set_weights(self, weights: ModalityWeights, *, progress: bool = False) -> WeightsReport:
        """Switch to other fusion weights; modalities that are not named keep theirs.

        Nothing is encoded. Where several modalities meet in one named vector, its vectors are fused
        anew out of the embedding caches, and where a release is current, one with them is published
        in its place; `rollback` undoes both. A process that has the space open must reopen it.

        Raises
        ------
        InvalidInput
            If a modality has no encoder, or a weight is not valid.
        ReleaseRejected
            If the release misses its targets; the space has its former weights again.
        SpaceLocked
            If another process is writing.

        Examples
        --------
        ``space.set_weights({"image": 2})``
        """
        return operations.fusion_weights.set_weights(self.opened, weights, progress=progress)

    def learn_fusion(
        self, pairs: Any = None, *, label: str | None = None, progress: bool = False
    ) -> FusionReport:
        """Learn the weight of each named vector, for each kind of query.

        From then on `search` and `similar` use what was learned for queries of their kind, unless
        they are given `weights`. Learned weights that are no better than those of the space on
        held-out queries are not stored. No vector changes. See `LearnFusionRequest`.

        Raises
        ------
        InvalidInput
            If there are too few queries, no such attribute, or the items have one named vector.
        InvalidMapping
            If a column is absent.

        Examples
        --------
        ``space.learn_fusion(label="genre").chosen``
        """
        request, stored = LearnFusionRequest.of(locals()), self._searcher.fusion_weights
        return operations.fusion_weights.learn_fusion(
            self.opened, request, stored, progress=progress
        )

    def precompute(self, model: str, *, progress: bool = False) -> PrecomputeReport:
        """Compute once what a model of the second stage makes of the contents of items.

        `search` then takes ``rerank="late-interaction"``, or ``hybrid=True, words="sparse"``. Only
        contents that are not stored go through the model, so it is called again after items were
        added; one that was interrupted goes on. Searches go on meanwhile. See `PrecomputeRequest`.

        Raises
        ------
        InvalidInput
            If the model is of another kind.
        UnknownEncoder
            If it cannot be loaded.
        SpaceLocked
            If another process computes or migrates still.

        Examples
        --------
        ``space.precompute("late-interaction/lightonai/GTE-ModernColBERT-v1").encoded``
        """
        return operations.precompute.precompute(
            self.opened, PrecomputeRequest.of(locals()), progress=progress
        )

    def finetune(
        self,
        target: str,
        out: str | Path,
        *,
        encoder: str | None = None,
        label: str | None = None,
        min_common_users: int = 2,
        max_pairs_per_item: int = 10,
        positive_from: float | None = None,
        device: str = "auto",
        settings: FinetuneSettings | None = None,
        progress: bool = False,
    ) -> FinetuneReport:
        """Fine-tune a text encoder on the items of a domain that users have in common.

        The space stays as it is: `reembed` moves it to the new encoder. What the other domains
        lose is measured, and limited. A fine-tuning that was interrupted resumes when it is
        started again. See `FinetuneRequest` and `FinetuneSettings`.

        Returns
        -------
        FinetuneReport
            Also written to ``finetuning.json`` in `out`.

        Raises
        ------
        InvalidInput
            If the domain is unknown, or its users make too few pairs.
        UnsupportedOperation
            If the space has no encoder of text.

        Examples
        --------
        ``space.finetune("books", "book-encoder", settings=FinetuneSettings(epochs=3))``
        """
        request = FinetuneRequest.of(locals())
        return operations.finetuning.finetune_encoder(
            self.opened, request, settings, progress=progress
        )
