"""Switch a space to other vectors: made beside the present ones, then taken over at once.

Other fusion weights, another alignment, other encoders and a rollback to any of them go one way:

1. The new vectors get columns beside the present ones.
2. A release of them is built, or an earlier one is chosen. Until here nobody sees anything.
3. ``space.toml`` is replaced. It names the new vectors and, as `pending_release`, their release.
4. CURRENT follows, and the pending release leaves ``space.toml``.
5. What nothing refers to any more is removed.

The one rename of step 3 decides: a process killed before it leaves the space as it was, one killed
after it leaves the space as it is going to be. Steps 4 and 5 are done by the next writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import FingerprintMismatch, command_in
from isthmus.index.catalog.alignments import delete_other_alignments, load_release_alignment
from isthmus.index.catalog.lock import SWITCHING_LOCK, write_lock
from isthmus.index.catalog.migration import Migration, former_settings, retry_stale_items
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.vector_columns import drop_unused_columns
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.publish import Switch
from isthmus.index.releases.release import Release, Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.store import drop_stale_recommender
from isthmus.schema import Modality

MakeRelease = Callable[[Snapshot, Switch], int | None]


@dataclass(frozen=True)
class Switched:
    """What a switch did.

    Attributes
    ----------
    release : int or None
        The release that is current now; None where the space had none.
    encoded : dict of str to int
        Contents that went through a model, by modality.
    taken_up : int
        Items that were added or changed while the release was made.
    """

    release: int | None
    encoded: dict[str, int]
    taken_up: int


@contextmanager
def switching(space: OpenSpace) -> Iterator[None]:
    """Hold the lock of those who switch; remove in the end what the settings do not name."""
    with write_lock(space.path, SWITCHING_LOCK, space.wait_s):
        with releasing(space):  # which completes a switch that was killed
            pass
        yield
        with write_lock(space.path, "catalog", space.wait_s):
            drop_unused_columns(space.catalog, space.settings)
        delete_other_alignments(space.path, space.settings.alignment)
        drop_stale_recommender(space.path, space.settings)


@contextmanager
def releasing(space: OpenSpace) -> Iterator[None]:
    """Hold the lock of the releases; CURRENT follows a switch that was killed before it did."""
    with write_lock(space.path, "releases", space.wait_s):
        _follow(space)
        Releases(space.path).settle()
        space.live.require_settings()
        yield


def switch_vectors(
    space: OpenSpace,
    settings: SpaceSettings,
    alignment: Alignment | None,
    make_release: MakeRelease,
    *,
    encoder_of: LazyEncoders | None = None,
    http: bool = False,
    progress: bool = False,
) -> Switched:
    """Switch to the vectors of other settings; the caller holds the lock `switching`.

    Parameters
    ----------
    space : OpenSpace
        The space.
    settings : SpaceSettings
        The settings to switch to, with columns that can stand beside the present ones.
    alignment : Alignment or None
        The alignment that these name.
    make_release : callable
        Takes the catalog with both vectors and the function that switches. It makes a release,
        calls that function, and returns the number of the release.
    encoder_of : LazyEncoders, optional
        The encoders, where they are others.
    http : bool, default False
        Whether media may be fetched.
    progress : bool, default False
        Whether to show bars.
    """
    migration = Migration(
        space.path,
        space.catalog,
        space.settings,
        settings,
        alignment,
        encoder_of or space.encoder_of,
        space.media(http=http),
    )
    switched = False

    def switch(release: int | None) -> None:
        nonlocal switched
        with write_lock(space.path, "catalog", space.wait_s):
            space.live.require_settings()
            migration.switch(both.version, release)
            switched = True

    migration.encode_missing(progress=progress)
    try:
        with write_lock(space.path, "catalog", space.wait_s):
            space.live.require_settings()
            both = migration.prepare(progress=progress)
        with releasing(space):
            number = make_release(both, switch)
            _follow(space)
    except BaseException:
        if not switched:
            with write_lock(space.path, "catalog", space.wait_s):
                migration.abort()
        raise
    space.switch(settings, encoder_of)
    return Switched(number, migration.encoded, migration.n_changed)


def _follow(space: OpenSpace) -> None:
    """Make CURRENT follow ``space.toml``; the caller holds the lock of the releases."""
    pending = SpaceSettings.read(space.path).pending_release
    if pending is None:
        return
    Releases(space.path).make_current(pending)
    with write_lock(space.path, "catalog", space.wait_s):
        SpaceSettings.read(space.path).with_pending(None).write(space.path)


def settings_of_release(
    space: OpenSpace, release: Release
) -> tuple[SpaceSettings, Alignment | None, LazyEncoders | None]:
    """Return the settings that a release was made with, its alignment, and encoders if others.

    Raises
    ------
    FingerprintMismatch
        If the space does not know the encoders that the release was made with.
    """
    fingerprint = release.manifest.fingerprint
    alignment = load_release_alignment(release.folder)
    for base in (space.settings, *former_settings(space.path)):
        for fusion in (base.weights, *reversed(base.former_weights)):
            weights = {str(modality): weight for modality, weight in fusion.items()}
            settings = base.with_weights(weights).with_alignment(alignment)
            if settings.fingerprint != fingerprint:
                continue
            if base is space.settings:
                return settings, alignment, None
            settings = settings.with_columns_beside(space.settings)
            return settings, alignment, space.recorded_encoders(settings)
    raise FingerprintMismatch(
        f"release {release.number} was made with encoder stack {fingerprint}, "
        f"which {space.path} does not know any more; choose another release, or migrate the space "
        f"to these encoders with: {command_in(space.path, 'reembed --encoder SPEC')}"
    )


def update_quarantine(space: OpenSpace, *, http: bool = False) -> int:
    """Put what the encoders cannot take into quarantine, and what they can out of it."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        return retry_stale_items(
            space.path,
            space.catalog,
            space.settings,
            space.alignment,
            space.encoder_of,
            space.media(http=http),
        )


def store_settings(space: OpenSpace, settings: SpaceSettings) -> None:
    """Store settings that leave all vectors as they are."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        if settings != space.settings:
            pending = SpaceSettings.read(space.path).pending_release
            settings.with_pending(pending).write(space.path)
            space.switch(settings)


def switch_encoder_specs(
    space: OpenSpace, specs: Mapping[Modality, str], encoder_of: LazyEncoders
) -> None:
    """Load the same encoders from another place; the caller holds the lock of the catalog."""
    present = SpaceSettings.read(space.path)
    if specs != present.encoders:
        present.model_copy(update={"encoders": dict(specs)}).write(space.path)
        space.switch(present.model_copy(update={"encoders": dict(specs)}), encoder_of)
