"""The folder in which a long training leaves an encoder, and what it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from isthmus.encoders.registry import spec_path
from isthmus.errors import InvalidInput

WORK: Final = "work"


def open_work_folder(folder: Path, made: str, report: str, *sources: str) -> Path:
    """Make the folder of an encoder, or open one that the same kind of training made.

    Parameters
    ----------
    folder : Path
        Where; it gets a folder ``work``.
    made : str
        What is made there, for the errors: ``"distilled"`` or ``"fine-tuned"``.
    report : str
        The file that such a training leaves.
    sources : str
        Specs of the encoders that it is made of.

    Raises
    ------
    InvalidInput
        If it is a file, or holds something else or one of the sources.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; give a folder for the {made} encoder")
    ours = (folder / WORK).is_dir() or (folder / report).is_file()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise InvalidInput(
            f"{folder} holds something else than a {made} encoder; give a new folder"
        )
    for spec in sources:
        if _lies_in(folder, spec):
            raise InvalidInput(
                f"{folder} holds {spec!r}, which would be overwritten; give another folder"
            )
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    return folder


def _lies_in(folder: Path, spec: str) -> bool:
    path = spec_path(spec)
    return path is not None and path.resolve().is_relative_to(folder.resolve())
