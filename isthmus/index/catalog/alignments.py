"""The alignments of a space on disk, and as part of its releases."""

from __future__ import annotations

import shutil
from pathlib import Path

from isthmus.encoders.alignment import FILES, Alignment
from isthmus.errors import CorruptAlignment
from isthmus.index.settings import SpaceSettings
from isthmus.schema import ALIGNMENTS_FOLDER, RELEASE_ALIGNMENT_FOLDER


def load_alignment(space: Path, settings: SpaceSettings) -> Alignment | None:
    """Read the alignment that the settings of a space name; None where they name none.

    Raises
    ------
    CorruptAlignment
        If it is missing or damaged, or is not the one that they name.
    """
    if not settings.alignment:
        return None
    found = Alignment.load(alignment_folder(space, settings.alignment))
    if found.fingerprint != settings.alignment:
        raise CorruptAlignment(
            f"{alignment_folder(space, settings.alignment)} holds alignment {found.fingerprint}; "
            "learn it anew with: isthmus align, or go back with: isthmus rollback"
        )
    return found


def store_alignment(space: Path, alignment: Alignment) -> None:
    """Put an alignment into a space."""
    (space / ALIGNMENTS_FOLDER).mkdir(exist_ok=True)
    alignment.save(alignment_folder(space, alignment.fingerprint))


def keep_only(space: Path, fingerprint: str) -> None:
    """Remove the other alignments; each release has a copy of its own."""
    for folder in (space / ALIGNMENTS_FOLDER).glob("*"):
        if folder.name != fingerprint:
            shutil.rmtree(folder, ignore_errors=True)


def alignment_folder(space: Path, fingerprint: str) -> Path:
    """Name the folder of an alignment."""
    return space / ALIGNMENTS_FOLDER / fingerprint


def published_alignment(release: Path) -> Alignment | None:
    """Read the alignment of a release's folder; None where it has none."""
    folder = release / RELEASE_ALIGNMENT_FOLDER
    return Alignment.load(folder) if folder.exists() else None


class AlignmentAttachment:
    """Puts the alignment of a space into its releases.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space, self._settings = space, settings

    def write(self, folder: Path) -> list[str]:
        """Copy the files of the alignment into a release, and name them."""
        if load_alignment(self._space, self._settings) is None:
            return []
        own = alignment_folder(self._space, self._settings.alignment)
        (folder / RELEASE_ALIGNMENT_FOLDER).mkdir()
        for name in FILES:
            shutil.copyfile(own / name, folder / RELEASE_ALIGNMENT_FOLDER / name)
        return [f"{RELEASE_ALIGNMENT_FOLDER}/{name}" for name in FILES]

    def shortfalls(self) -> list[str]:
        """Give none: an alignment is no reason against a release."""
        return []
