"""Switch a space to another alignment, other fusion weights, or the encoders of a release."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import FingerprintMismatch
from isthmus.index.catalog.alignments import delete_other_alignments, load_release_alignment
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.migration import Migration, former_settings
from isthmus.index.catalog.vector_columns import change_vectors, realign
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.store import trained_folder
from isthmus.schema import Modality


def switch_alignment(
    space: OpenSpace, alignment: Alignment | None, *, progress: bool = False
) -> None:
    """Switch to another alignment, or to none; the caller holds the lock of the releases."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        space.switch(
            realign(space.path, space.catalog, space.settings, alignment, progress=progress)
        )
    delete_other_alignments(space.path, space.settings.alignment)


def switch_weights(space: OpenSpace, weights: ModalityWeights, *, progress: bool = False) -> None:
    """Switch to other fusion weights; the caller holds the lock of the releases."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        changed = space.settings.with_weights(weights)
        space.switch(
            change_vectors(
                space.path,
                space.catalog,
                space.settings,
                changed,
                space.alignment,
                progress=progress,
            )
        )


def switch_to_release(space: OpenSpace, number: int | None) -> None:
    """Switch to encoders, alignment and weights of a release, by default the previous one.

    The caller holds the lock of the releases.

    Raises
    ------
    FingerprintMismatch
        If the space does not know the encoders that the release was made with.
    """
    releases = Releases(space.path)
    release = releases.open(releases.previous() if number is None else number)
    fingerprint = release.manifest.fingerprint
    if not release.manifest.accepted or fingerprint == space.fingerprint:
        return
    release.verify()
    alignment = load_release_alignment(release.folder)
    for base in (space.settings, *former_settings(space.path)):
        for fusion in (base.weights, *reversed(base.former_weights)):
            weights = {str(modality): weight for modality, weight in fusion.items()}
            settings = base.with_weights(weights).with_alignment(alignment)
            if settings.fingerprint != fingerprint:
                continue
            if base is space.settings:
                switch_weights(space, weights)
                switch_alignment(space, alignment)
            else:
                _switch_encoders(space, settings, alignment)
            return
    raise FingerprintMismatch(
        f"release {release.number} was made with encoder stack {fingerprint}, "
        f"which {space.path} does not know any more; choose another release, or move the space "
        "to these encoders with: isthmus reembed"
    )


def _switch_encoders(
    space: OpenSpace, settings: SpaceSettings, alignment: Alignment | None
) -> None:
    """Switch back to former encoders; the caller holds the lock of the releases.

    What these encoded is in their embedding caches; only what was added since goes through a
    model.
    """
    settings = settings.with_columns_beside(space.settings)
    encoder_of = space.recorded_encoders(settings)
    migration = start_migration(space, settings, alignment, encoder_of)
    migration.encode_missing()
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        migration.switch(migration.prepare().version)
        shutil.rmtree(trained_folder(space.path), ignore_errors=True)
        space.switch(settings, encoder_of)
        migration.finish()
    delete_other_alignments(space.path, space.settings.alignment)


def start_migration(
    space: OpenSpace,
    settings: SpaceSettings,
    alignment: Alignment | None,
    encoder_of: LazyEncoders,
    *,
    http: bool = False,
) -> Migration:
    """Return the migration of a space to other encoders, not started."""
    return Migration(
        space.path,
        space.catalog,
        space.settings,
        settings,
        alignment,
        encoder_of,
        space.media(http=http),
    )


def switch_encoder_specs(
    space: OpenSpace, specs: Mapping[Modality, str], encoder_of: LazyEncoders
) -> None:
    """Load the same encoders from another place; the caller holds the lock of the catalog."""
    present = SpaceSettings.read(space.path)
    if specs != present.encoders:
        moved = present.model_copy(update={"encoders": dict(specs)})
        moved.write(space.path)
        space.switch(moved, encoder_of)
