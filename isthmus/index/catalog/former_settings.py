"""Settings that a space had before its encoders were changed, to go back by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.index.settings import SpaceSettings

FOLDER = "encoders"


def keep_settings(space: Path, settings: SpaceSettings) -> None:
    """Keep the settings of a space, by the fingerprint of its encoder stack."""
    folder = space / FOLDER / settings.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    settings.write(folder)


def former_settings(space: Path) -> Iterator[SpaceSettings]:
    """Give the settings that were kept and can be read."""
    for folder in sorted((space / FOLDER).glob("*")):
        try:
            yield SpaceSettings.read(folder)
        except IsthmusError:
            continue


def made_by_others(space: Path, present: SpaceSettings, fingerprint: str) -> bool:
    """Tell whether a fingerprint stands for other encoders than the present ones.

    Parameters
    ----------
    space : Path
        Folder of the space.
    present : SpaceSettings
        Its settings.
    fingerprint : str
        Of an encoder stack that the space had, when its encoders were changed.
    """
    return any(
        former.encoder_fingerprint(modality) != present.encoder_fingerprint(modality)
        for former in former_settings(space)
        if former.fingerprint == fingerprint
        for modality in present.encoders
    )
