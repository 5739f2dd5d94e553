"""Plan, publish and roll back releases."""

from __future__ import annotations

from pathlib import Path

from isthmus.errors import CorruptRelease, ReleaseNotFound
from isthmus.index.ann.gpu import choose_devices
from isthmus.index.catalog.alignments import AlignmentAttachment
from isthmus.index.catalog.compact import compact_if_due
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.migration import has_other_encoders
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.manifest import Manifest
from isthmus.index.releases.plan import Plan
from isthmus.index.releases.publish import Attachment, Attachments, Publisher
from isthmus.index.releases.release import Release, Releases
from isthmus.index.settings import IndexSettings, SpaceSettings
from isthmus.operations.request import PlanRequest, PublishRequest, TargetOptions
from isthmus.operations.switching import switch_to_release
from isthmus.retrieval.recommend.store import RecommenderAttachment
from isthmus.retrieval.search.hybrid import index_text_if_free
from isthmus.retrieval.search.recall_queries import RecallQuerySampler


def publish(space: OpenSpace, request: PublishRequest, *, progress: bool = False) -> Manifest:
    """Build a release of the catalog, measure it, and make it current."""
    index = _index_settings(space, request)
    if any("text" in named_vector.modalities for named_vector in space.named_vectors):
        index_text_if_free(space.path, space.catalog)
    with write_lock(space.path, "releases", space.wait_s):
        space.live.require_settings()
        current = None if request.rebuild else _current_release(space.path)
        if current is not None and has_other_encoders(
            space.path, space.settings, current.manifest.fingerprint
        ):
            current = None  # its recommender was trained on the vectors of other encoders
        attachment = RecommenderAttachment(space.path, current, keep=request.keep_recommender)
        manifest = make_publisher(space, index, attachment).publish(
            space.catalog.snapshot(),
            retrain=request.retrain,
            rebuild=request.rebuild,
            progress=progress,
        )
    compact_if_due(space.path, index.keep_versions_days)
    return manifest


def plan(space: OpenSpace, request: PlanRequest, *, progress: bool = False) -> list[Plan]:
    """Measure every index recipe on a sample of the catalog, and build nothing."""
    publisher = make_publisher(space, _index_settings(space, request))
    return publisher.plan(space.catalog.snapshot(), rows=request.rows, progress=progress)


def rollback(space: OpenSpace, number: int | None) -> int:
    """Make an earlier release current, with the encoders and weights that it was made with."""
    with write_lock(space.path, "releases", space.wait_s):
        space.live.require_settings()
        switch_to_release(space, number)
        return make_publisher(space, space.settings.index).rollback(number)


def make_publisher(
    space: OpenSpace,
    index: IndexSettings,
    attachment: RecommenderAttachment | None = None,
    settings: SpaceSettings | None = None,
) -> Publisher:
    """Return what builds the releases of a space, by default with its present settings."""
    settings = settings or space.settings
    parts: list[Attachment] = [AlignmentAttachment(space.path, settings)]
    if attachment is not None:
        parts.append(attachment)
    return Publisher(
        space.path,
        settings.layout,
        settings.fingerprint,
        index,
        RecallQuerySampler(space.path, settings),
        choose_devices(space.device),
        Attachments(parts),
    )


def _index_settings(space: OpenSpace, targets: TargetOptions) -> IndexSettings:
    index = space.settings.index
    return index.with_targets(
        index.targets.replace(
            recall=targets.recall, latency_ms=targets.latency_ms, memory=targets.memory
        )
    )


def _current_release(path: Path) -> Release | None:
    """Return the current release; None where it is missing or damaged."""
    try:
        return Releases(path).current()
    except (CorruptRelease, ReleaseNotFound):
        return None
