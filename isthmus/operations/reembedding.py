"""Move a space to other encoders while it goes on serving."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from isthmus.encoders.alignment import AUTO, Alignment, AlignmentLike, resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import resolve_encoders
from isthmus.encoders.stack import EncoderStack, LazyEncoders
from isthmus.errors import InvalidInput, UnsupportedModality, UnsupportedOperation
from isthmus.index.catalog.alignments import delete_other_alignments
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.migration import Migration, retry_stale_items
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.vector_columns import drop_unused_columns
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Releases
from isthmus.index.settings import SpaceSettings
from isthmus.operations.publishing import make_publisher, publish
from isthmus.operations.request import PublishRequest, ReembedRequest
from isthmus.operations.switching import start_migration, switch_encoder_specs
from isthmus.retrieval.recommend.store import has_recommender, trained_folder
from isthmus.schema import MODALITIES, Modality

LOCK = "reembedding"

Switch = Callable[[], None]
AlignmentFate = Literal["none", "kept", "changed", "lost"]


@dataclass(frozen=True)
class ReembedReport:
    """What moving a space to other encoders did.

    Attributes
    ----------
    former, fingerprint : str
        Of the encoder stack before, and now.
    encoders : dict of str to str
        Spec of each modality's encoder now.
    encoded : dict of str to int
        Contents that went through a model, by modality; what an earlier, interrupted run encoded
        is not among them.
    taken_up : int
        Items that were added or changed while the release was built.
    quarantined : int
        Items with a content that the new encoders could not take.
    alignment : {"none", "kept", "changed", "lost"}
        What became of the alignment: one that was learned for other encoders is lost.
    recommender_dropped : bool
        Whether there was a trained recommender, which learned from the former vectors.
    release : int or None
        The release that was published; None where the space had none before.
    seconds : float
        How long it took.
    """

    former: str
    fingerprint: str
    encoders: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=dict)
    taken_up: int = 0
    quarantined: int = 0
    alignment: AlignmentFate = "none"
    recommender_dropped: bool = False
    release: int | None = None
    seconds: float = 0.0


def reembed(space: OpenSpace, request: ReembedRequest, *, progress: bool = False) -> ReembedReport:
    """Move a space to other encoders: re-encode, build a release, then switch at once."""
    started = time.monotonic()
    with write_lock(space.path, LOCK, space.wait_s):
        space.live.require_settings()
        former = space.fingerprint
        encoders = _encoders_with(space, request)
        chosen = _alignment_for(space, encoders, request.alignment)
        stack = EncoderStack(encoders, space.settings.weights, chosen)
        settings = SpaceSettings.from_stack(stack).model_copy(
            update={"former_weights": space.settings.former_weights}
        )
        settings = settings.with_columns_beside(space.settings)
        given = space.recorded_encoders(settings, encoders)
        if settings.fingerprint == former:
            return _complete_switch(space, started, settings.encoders, given)
        fate = _alignment_fate(space.settings, settings)
        dropped = _leaves_recommender(space, drop=request.drop_recommender)
        migration = start_migration(space, settings, chosen, given, http=request.http)
        migration.encode_missing(progress=progress)
        release = _switch(space, migration, settings, progress=progress)
        space.switch(settings, given)
        with write_lock(space.path, "catalog", space.wait_s):
            quarantined = migration.finish()
        delete_other_alignments(space.path, settings.alignment)
        return ReembedReport(
            former=former,
            fingerprint=settings.fingerprint,
            encoders={str(m): spec for m, spec in settings.encoders.items()},
            encoded=migration.encoded,
            taken_up=migration.n_changed,
            quarantined=quarantined,
            alignment=fate,
            recommender_dropped=dropped,
            release=release,
            seconds=time.monotonic() - started,
        )


def _switch(
    space: OpenSpace, migration: Migration, settings: SpaceSettings, *, progress: bool
) -> int | None:
    """Build a release of the new vectors beside the old, and let both take over at once."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        with _given_up(migration):
            both = migration.prepare(progress=progress)
    switched = False

    def switch() -> None:
        nonlocal switched
        with write_lock(space.path, "catalog", space.wait_s):
            space.live.require_settings()
            migration.switch(both.version)
            switched = True
            shutil.rmtree(trained_folder(space.path), ignore_errors=True)

    try:
        with write_lock(space.path, "releases", space.wait_s):
            space.live.require_settings()
            return _publish_migrated(space, both, settings, switch, progress=progress)
    finally:
        if not switched:
            with write_lock(space.path, "catalog", space.wait_s):
                migration.abort()


def _publish_migrated(
    space: OpenSpace, both: Snapshot, settings: SpaceSettings, switch: Switch, *, progress: bool
) -> int | None:
    if Releases(space.path).current_number() is None:
        switch()
        return None
    publisher = make_publisher(space, space.settings.index, settings=settings)
    return publisher.publish(both, switch=switch, progress=progress).number


def _encoders_with(space: OpenSpace, request: ReembedRequest) -> dict[Modality, Encoder]:
    """Return the encoder of each modality of the space, with those of the request."""
    by_modality: dict[Modality, str | Encoder | None] = {
        "text": request.text_encoder,
        "image": request.image_encoder,
        "audio": request.audio_encoder,
    }
    for modality, one in by_modality.items():
        if one is not None and modality not in space.settings.encoders:
            raise UnsupportedModality(
                f"this space has no {modality} encoder that could be replaced; make a space "
                f"with one"
            )
    if request.encoder is None and not any(by_modality.values()):
        raise InvalidInput(
            "give the encoder to move to: encoder (--encoder), or one of a modality, such as "
            "text_encoder (--text-encoder)"
        )
    options = {"device": space.model_device, "precision": request.precision}
    chosen: dict[Modality, Encoder] = {}
    if request.encoder is not None:
        chosen |= resolve_encoders(request.encoder, **options)
    if any(by_modality.values()):
        chosen |= resolve_encoders(
            "", by_modality["text"], by_modality["image"], by_modality["audio"], **options
        )
    replaced = {m: one for m, one in chosen.items() if m in space.settings.encoders}
    if not replaced:
        raise UnsupportedModality(
            f"the encoder takes {', '.join(chosen)}, and this space has "
            f"{', '.join(space.settings.encoders)} alone"
        )
    return {
        m: replaced[m] if m in replaced else space.encoder_of(m)
        for m in MODALITIES
        if m in space.settings.encoders
    }


def _alignment_for(
    space: OpenSpace, encoders: Mapping[Modality, Encoder], alignment: AlignmentLike
) -> Alignment | None:
    present = space.alignment
    if alignment == AUTO and present is not None:
        fits = all(present.fits(m, encoders[m].components) for m in present.modalities)
        if fits:
            return present
    return resolve_alignment(alignment, encoders)


def _leaves_recommender(space: OpenSpace, *, drop: bool) -> bool:
    """Return whether there is a recommender; refuse to lose one that is not to be dropped."""
    exists = has_recommender(space.path)
    if exists and not drop:
        raise UnsupportedOperation(
            f"{space.path} has a recommender that was trained on the vectors of its present "
            "encoders, and cannot use those of others; leave it behind with "
            "drop_recommender=True (--drop-recommender), and train anew afterwards with: "
            "isthmus train, isthmus publish"
        )
    return exists


def _complete_switch(
    space: OpenSpace, started: float, specs: Mapping[Modality, str], encoder_of: LazyEncoders
) -> ReembedReport:
    """Finish what a kill may have left undone after the switch, and note where encoders lie."""
    release = None
    current = Releases(space.path).current()
    if current is not None and current.manifest.fingerprint != space.fingerprint:
        release = publish(space, PublishRequest(rebuild=True, keep_recommender=True)).number
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        switch_encoder_specs(space, specs, encoder_of)
        drop_unused_columns(space.catalog, space.settings)
        quarantined = retry_stale_items(
            space.path,
            space.catalog,
            space.settings,
            space.alignment,
            space.encoder_of,
            space.media(),
        )
    return ReembedReport(
        former=space.fingerprint,
        fingerprint=space.fingerprint,
        encoders={str(m): spec for m, spec in space.settings.encoders.items()},
        encoded={str(modality): 0 for modality in space.settings.encoders},
        quarantined=quarantined,
        alignment="kept" if space.settings.alignment else "none",
        release=release,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _given_up(migration: Migration) -> Iterator[None]:
    """Drop what was prepared where what is inside fails."""
    try:
        yield
    except BaseException:
        migration.abort()
        raise


def _alignment_fate(present: SpaceSettings, settings: SpaceSettings) -> AlignmentFate:
    if present.alignment == settings.alignment:
        return "kept" if present.alignment else "none"
    return "changed" if settings.alignment else "lost"
