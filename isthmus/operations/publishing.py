"""Plan, publish and roll back releases."""

from __future__ import annotations

from isthmus.data.given_vectors import first_vectors
from isthmus.errors import InvalidInput
from isthmus.ids import is_whole
from isthmus.index.ann.gpu import choose_devices
from isthmus.index.catalog.alignments import AlignmentAttachment
from isthmus.index.catalog.compact import compact_if_due
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.manifest import Manifest
from isthmus.index.releases.plan import Plan
from isthmus.index.releases.publish import Attachment, Attachments, Publisher, Switch
from isthmus.index.releases.release import Releases
from isthmus.index.releases.shorter_vectors import ShorterVectors
from isthmus.index.settings import IndexSettings, SpaceSettings, Targets
from isthmus.operations.request import PlanRequest, PublishRequest, TargetOptions
from isthmus.operations.switching import (
    MakeRelease,
    releasing,
    settings_of_release,
    switch_vectors,
    switching,
    update_quarantine,
)
from isthmus.retrieval.recommend.store import RecommenderAttachment
from isthmus.retrieval.search.hybrid import index_text_if_free
from isthmus.retrieval.search.recall_queries import RecallQuerySampler


def publish(space: OpenSpace, request: PublishRequest, *, progress: bool = False) -> Manifest:
    """Build a release of the catalog, measure it, and make it current.

    Raises
    ------
    InvalidInput
        If the space has no vectors yet: it would get its first ones only after this release, which
        could not be searched by them.
    """
    if not space.named_vectors:
        raise InvalidInput(f"{space.path} has no vectors to publish; {first_vectors(space.path)}")
    index = _index_settings(space, request)
    if any("text" in named_vector.modalities for named_vector in space.named_vectors):
        index_text_if_free(space.path, space.catalog)
    with releasing(space):
        current = Releases(space.path).last_folder()
        attachment = RecommenderAttachment(
            space.path, space.settings, current, keep=request.keep_recommender
        )
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


def measure_dims(space: OpenSpace, request: PlanRequest) -> list[ShorterVectors]:
    """Measure what shorter vectors would find, on a sample of the catalog."""
    publisher = make_publisher(space, space.settings.index)
    return publisher.measure_shorter(space.catalog.snapshot(), request.dims)


def rollback(space: OpenSpace, number: int | None) -> int:
    """Make an earlier release current, with the encoders and weights that it was made with."""
    if number is not None and not is_whole(number):
        raise InvalidInput(f"the number of a release is {number!r}; give a whole number")
    releases = Releases(space.path)
    with switching(space):
        release = releases.open(releases.previous() if number is None else number)
        if not release.manifest.accepted or release.manifest.fingerprint == space.fingerprint:
            with releasing(space):
                return make_publisher(space, space.settings.index).rollback(release.number)
        release.verify()
        settings, alignment, encoder_of = settings_of_release(space, release)

        def make_release(_: Snapshot, switch: Switch) -> int:
            publisher = make_publisher(space, space.settings.index)
            return publisher.rollback(release.number, switch)

        switch_vectors(space, settings, alignment, make_release, encoder_of=encoder_of)
        if encoder_of is not None:
            update_quarantine(space)
        return release.number


def release_maker(
    space: OpenSpace, settings: SpaceSettings, *, with_recommender: bool, progress: bool
) -> MakeRelease:
    """Return what builds a release with other vectors, and switches to it.

    Parameters
    ----------
    space : OpenSpace
        The space.
    settings : SpaceSettings
        The settings with the other vectors.
    with_recommender : bool
        Whether the release gets a recommender.
    progress : bool
        Whether to show bars.
    """

    def make_release(both: Snapshot, switch: Switch) -> int | None:
        if Releases(space.path).current_number() is None:
            switch(None)
            return None
        attachment = None
        if with_recommender:
            attachment = RecommenderAttachment(
                space.path, settings, Releases(space.path).last_folder()
            )
        publisher = make_publisher(space, space.settings.index, attachment, settings)
        return publisher.publish(both, switch=switch, progress=progress).number

    return make_release


def make_publisher(
    space: OpenSpace,
    index: IndexSettings,
    attachment: RecommenderAttachment | None = None,
    settings: SpaceSettings | None = None,
) -> Publisher:
    """Return what builds the releases of a space, by default with its present settings."""
    encoder_of = space.recorded_encoders(settings) if settings else space.encoder_of
    settings = settings or space.settings
    parts: list[Attachment] = [AlignmentAttachment(space.path, settings)]
    if attachment is not None:
        parts.append(attachment)
    return Publisher(
        space.path,
        settings.layout,
        settings.fingerprint,
        index,
        RecallQuerySampler(space.path, settings, encoder_of),
        choose_devices(space.device),
        Attachments(parts),
    )


def _index_settings(space: OpenSpace, targets: TargetOptions) -> IndexSettings:
    index = space.settings.index
    return index.with_targets(
        index.targets.replace(**{name: getattr(targets, name) for name in Targets.model_fields})
    )
