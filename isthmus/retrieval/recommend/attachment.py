"""The recommender as part of a release."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import InvalidInput
from isthmus.index.releases.release import Release, Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.store import (
    DESCRIPTION,
    Description,
    files_of,
    load_recommender,
    read_description,
)

if TYPE_CHECKING:
    from isthmus.retrieval.ranker.ranker import RankingHead

TRAINING = "training"
FOLDER = "recommender"


class RecommenderAttachment:
    """Puts into a release what was trained since any was published, or what the current one has.

    So after a rollback the next release keeps the heads that were rolled back to.

    Parameters
    ----------
    space : Path
        Folder of the space.
    current : Release, optional
        The current release.
    keep : bool, default False
        Whether to pass over what was trained since.

    Raises
    ------
    CorruptRelease
        If a file of the recommender is missing or damaged.
    """

    def __init__(self, space: Path, current: Release | None, *, keep: bool = False) -> None:
        self._folder, self._description = _newest(space, current, keep=keep)

    def write(self, folder: Path) -> list[str]:
        """Copy the files of the recommender into a release."""
        if self._folder is None or self._description is None:
            return []
        (folder / FOLDER).mkdir()
        for name in files_of(self._description):
            shutil.copyfile(self._folder / name, folder / FOLDER / name)
        return [f"{FOLDER}/{name}" for name in files_of(self._description)]

    def shortfalls(self) -> list[str]:
        """Say where a head loses to one of its own sources."""
        return [] if self._description is None else self._description.losses()


def trained_folder(space: Path) -> Path:
    """Name the folder of what was trained and not published yet."""
    return space / TRAINING / FOLDER


def has_recommender(space: Path) -> bool:
    """Tell whether a space has a recommender: published, or trained and not published yet."""
    current = Releases(space).current()
    published = current is not None and (current.folder / FOLDER / DESCRIPTION).exists()
    return published or (trained_folder(space) / DESCRIPTION).exists()


def published_recommender(release: Release | None) -> Recommender | None:
    """Read the recommender of a release; None where it has none."""
    if release is None or not (release.folder / FOLDER / DESCRIPTION).exists():
        return None
    return load_recommender(release.folder / FOLDER)


def heads_of(space: Path) -> Mapping[str, RankingHead]:
    """Read the heads that a space has published.

    Raises
    ------
    InvalidInput
        If it has none.
    SpaceNotFound
        If there is no space.
    """
    SpaceSettings.read(space)
    found = published_recommender(Releases(space).current())
    if found is None:
        raise InvalidInput(
            f"{space} has published no head; train one there with: isthmus train, isthmus publish"
        )
    return found.heads


def _was_published(space: Path, current: Release, trained: Path) -> bool:
    """Tell whether what was trained is part of a release already: it is not newer than these."""
    own = (trained / DESCRIPTION).read_bytes()
    for release in [current, *Releases(space).all()]:
        published = release.folder / FOLDER / DESCRIPTION
        if release.manifest.accepted and published.exists() and published.read_bytes() == own:
            return True
    return False


def _newest(
    space: Path, current: Release | None, *, keep: bool
) -> tuple[Path | None, Description | None]:
    """Choose between what was trained since the current release, and what that has."""
    trained = trained_folder(space)
    new = (trained / DESCRIPTION).exists() and not keep
    if new and (current is None or not _was_published(space, current, trained)):
        return _sound(trained)
    published = None if current is None else current.folder / FOLDER
    if published is not None and (published / DESCRIPTION).exists():
        return _sound(published)
    return None, None


def _sound(folder: Path) -> tuple[Path, Description]:
    """Give a recommender's folder and description, if all of it can be read."""
    load_recommender(folder)
    return folder, read_description(folder)
