"""Alignments on disk: those of a space, and the copy in each release."""

from __future__ import annotations

import shutil
from pathlib import Path

from isthmus.durable import make_folder
from isthmus.encoders.alignment import FILES, Alignment
from isthmus.errors import CorruptAlignment, command_in
from isthmus.index.settings import SpaceSettings
from isthmus.schema import ALIGNMENTS_FOLDER, RELEASE_ALIGNMENT_FOLDER


def load_alignment(space: Path, settings: SpaceSettings) -> Alignment | None:
    """Return the alignment that the settings of a space name; None if they name none.

    Raises
    ------
    CorruptAlignment
        If it is missing or damaged, or has another fingerprint.
    """
    if not settings.alignment:
        return None
    folder = alignment_folder(space, settings.alignment)
    try:
        alignment = Alignment.load(folder)
        if alignment.fingerprint != settings.alignment:
            raise CorruptAlignment(f"{folder} holds alignment {alignment.fingerprint}")
    except CorruptAlignment as error:
        remedy = command_in(space, "verify --repair")
        raise CorruptAlignment(f"{error}; see what is lost, and mend it, with: {remedy}") from error
    return alignment


def store_alignment(space: Path, alignment: Alignment) -> None:
    """Store an alignment in a space; one that is stored and whole stays as it is."""
    folder = alignment_folder(space, alignment.fingerprint)
    try:
        if Alignment.load(folder).fingerprint == alignment.fingerprint:
            return
    except CorruptAlignment:
        pass
    make_folder(folder.parent)
    alignment.save(folder)


def delete_other_alignments(space: Path, fingerprint: str) -> None:
    """Delete the alignments of a space except one; each release has its own copy."""
    for folder in (space / ALIGNMENTS_FOLDER).glob("*"):
        if folder.name != fingerprint:
            shutil.rmtree(folder, ignore_errors=True)


def alignment_folder(space: Path, fingerprint: str) -> Path:
    """Return the folder of an alignment."""
    return space / ALIGNMENTS_FOLDER / fingerprint


def load_release_alignment(release: Path) -> Alignment | None:
    """Return the alignment of a release, given its folder; None if it has none."""
    folder = release / RELEASE_ALIGNMENT_FOLDER
    return Alignment.load(folder) if folder.exists() else None


class AlignmentAttachment:
    """Copies the alignment of a space into its releases.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space, self._settings = space, settings

    def write(self, folder: Path, view: object) -> list[str]:
        """Copy the files of the alignment into a release; return their names."""
        del view
        if load_alignment(self._space, self._settings) is None:
            return []
        source = alignment_folder(self._space, self._settings.alignment)
        (folder / RELEASE_ALIGNMENT_FOLDER).mkdir()
        for name in FILES:
            shutil.copyfile(source / name, folder / RELEASE_ALIGNMENT_FOLDER / name)
        return [f"{RELEASE_ALIGNMENT_FOLDER}/{name}" for name in FILES]

    def shortfalls(self) -> list[str]:
        """Return nothing: an alignment never speaks against a release."""
        return []

    def guarantee(self) -> None:
        """Return nothing: an alignment promises no privacy."""
