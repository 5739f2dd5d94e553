"""The verbs of a space about its releases."""

from __future__ import annotations

from pathlib import Path

from isthmus.errors import CorruptRelease, ReleaseNotFound
from isthmus.index.ann.gpu import choose_devices
from isthmus.index.catalog.alignments import AlignmentAttachment
from isthmus.index.catalog.compact import compact_if_due
from isthmus.index.catalog.lock import writing
from isthmus.index.catalog.migration import made_by_others
from isthmus.index.releases.manifest import Manifest
from isthmus.index.releases.plan import Plan
from isthmus.index.releases.publish import Attachment, Attachments, Publisher
from isthmus.index.releases.release import Release, Releases
from isthmus.index.settings import IndexSettings, SpaceSettings
from isthmus.retrieval.recommend.store import RecommenderAttachment
from isthmus.retrieval.search.hybrid import index_text_if_free
from isthmus.retrieval.search.recall_queries import RecallQuerySampler
from isthmus.verbs.adopting import SpaceAdopting


class SpacePublishing(SpaceAdopting):
    """The part of `isthmus.Space` that plans, builds and changes releases."""

    def publish(
        self,
        *,
        recall: float | None = None,
        latency_ms: float | None = None,
        memory: int | str | None = None,
        retrain: bool = False,
        rebuild: bool = False,
        keep_recommender: bool = False,
        progress: bool = False,
    ) -> Manifest:
        """Build a release of the catalog, measure it, and make it current.

        The first time, and when the targets or the size of the catalog change, every recipe is
        measured on a sample and the cheapest that meets the targets is built. After that, what
        the current release was trained to be is filled with the catalog of now. Versions of the
        tables that are older than `keep_versions_days` of ``space.toml`` are dropped at the end,
        unless somebody is writing (see `compact`).

        Parameters
        ----------
        recall : float, optional
            Recall@10 to reach, in place of the space's own.
        latency_ms : float, optional
            Largest 99th percentile of a single query to the index, in milliseconds.
        memory : int or str, optional
            Largest size of the index of one named vector, in bytes, or such as ``4GiB``.
        retrain : bool, default False
            Plan and train anew in any case.
        rebuild : bool, default False
            The same from the catalog alone, without opening the current release.
        keep_recommender : bool, default False
            Keep the recommender of the current release, whatever was trained since.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        Manifest
            The release: number, items, recipes, measured recall, and the plan.

        Raises
        ------
        ImpossibleTargets
            If no recipe meets the targets; the message names the nearest that can be had.
        ReleaseRejected
            If the release misses a target, or a trained ranker loses to one of its
            sources; it is kept, and the current one stays.
        SpaceLocked
            If another process is publishing.
        """
        index = self._aiming(recall, latency_ms, memory)
        self._refresh_text_index()
        with writing(self.path, "releases", self._wait_s):
            self._live.require_settings()
            current = None if rebuild else _current(self.path)
            if current is not None and made_by_others(
                self.path, self.settings, current.manifest.fingerprint
            ):
                current = None  # its recommender knows the vectors of other encoders
            attachment = RecommenderAttachment(self.path, current, keep=keep_recommender)
            manifest = self._publisher(index, attachment).publish(
                self._catalog.snapshot(), retrain=retrain, rebuild=rebuild, progress=progress
            )
        compact_if_due(self.path, index.keep_versions_days)
        return manifest

    def plan(
        self,
        *,
        rows: int | None = None,
        recall: float | None = None,
        latency_ms: float | None = None,
        memory: int | str | None = None,
        progress: bool = False,
    ) -> list[Plan]:
        """Measure every recipe on a sample of the catalog, and build nothing.

        Parameters
        ----------
        rows : int, optional
            Plan for so many vectors a named vector; beyond the sample, figures are carried on along
            the curve through two sample sizes, and `Plan.extrapolated` says so.
        recall, latency_ms, memory
            As in `publish`.
        progress : bool, default False
            Whether to show a bar.

        Returns
        -------
        list of Plan
            One for each named vector that holds vectors.
        """
        index = self._aiming(recall, latency_ms, memory)
        snapshot = self._catalog.snapshot()
        return self._publisher(index).plan(snapshot, rows=rows, progress=progress)

    def releases(self) -> list[Manifest]:
        """Give the kept releases, oldest first."""
        return [release.manifest for release in Releases(self.path).all()]

    @property
    def current_release(self) -> int | None:
        """Number of the current release; None before the first."""
        return Releases(self.path).current_number()

    def rollback(self, number: int | None = None) -> int:
        """Make an earlier release current; items stay as they are in the catalog.

        If it was made with other encoders, another alignment or other fusion weights, the space
        has these again, and the vectors of its items are made anew out of the caches: what was
        added since other encoders took over goes through a model, and nothing else. These vectors
        are newer than the release, so they are compared one by one, exactly, until `publish`.

        Parameters
        ----------
        number : int, optional
            Which release; by default the newest accepted one before the current.

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
        """
        with writing(self.path, "releases", self._wait_s):
            self._live.require_settings()
            self._become(number)
            return self._publisher(self.settings.index).rollback(number)

    def _aiming(
        self, recall: float | None, latency_ms: float | None, memory: int | str | None
    ) -> IndexSettings:
        index = self.settings.index
        return index.aiming(
            index.targets.given(recall=recall, latency_ms=latency_ms, memory=memory)
        )

    def _refresh_text_index(self) -> None:
        """Bring the index of words up to date where there can be words, and nobody writes."""
        if any("text" in named_vector.modalities for named_vector in self._named_vectors):
            index_text_if_free(self.path, self._catalog)

    def _publisher(
        self,
        index: IndexSettings,
        attachment: RecommenderAttachment | None = None,
        settings: SpaceSettings | None = None,
    ) -> Publisher:
        settings = settings or self.settings
        queries = RecallQuerySampler(self.path, settings)
        devices = choose_devices(self._device)
        parts: list[Attachment] = [AlignmentAttachment(self.path, settings)]
        if attachment is not None:
            parts.append(attachment)
        return Publisher(
            self.path,
            settings.layout,
            settings.fingerprint,
            index,
            queries,
            devices,
            Attachments(parts),
        )


def _current(path: Path) -> Release | None:
    """Open the current release, if it can be."""
    try:
        return Releases(path).current()
    except (CorruptRelease, ReleaseNotFound):
        return None
