"""Go back to the copy of ``space.toml`` where the file itself is damaged."""

from __future__ import annotations

from pathlib import Path

from isthmus.durable import write_atomically
from isthmus.errors import InvalidInput, IsthmusError, command_in, first_line
from isthmus.index.settings import SpaceSettings
from isthmus.operations.damage import Damage
from isthmus.schema import SPACE_FILE, SPACE_FILE_COPY


def restore_settings(space: Path) -> Damage | None:
    """Replace a missing or damaged ``space.toml`` by its copy, if that is sound.

    The copy is as old as the last time that Isthmus wrote the settings: what was edited by hand
    since is not in it.

    Returns
    -------
    Damage or None
        What was mended.
    """
    file, copy = space / SPACE_FILE, space / SPACE_FILE_COPY
    try:
        SpaceSettings.read(space)
    except InvalidInput as error:
        try:
            SpaceSettings.read_file(copy)
        except (IsthmusError, OSError):
            return None
        write_atomically(file, copy.read_bytes())
        lost = "what was edited by hand since Isthmus wrote it"
        cause = first_line(error).removeprefix(f"{file} ").partition(";")[0]
        remedy = command_in(space, "verify --repair")
        return Damage(SPACE_FILE, cause, lost, remedy, repaired=True)
    except IsthmusError:
        return None
    return None
