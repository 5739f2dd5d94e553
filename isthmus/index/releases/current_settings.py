"""Whether the settings that a process opened a space with are still those on disk."""

from __future__ import annotations

from pathlib import Path

from isthmus.encoders.stack import describe_difference
from isthmus.errors import FingerprintMismatch
from isthmus.index.settings import FILE, SpaceSettings


class CurrentSettings:
    """Looks whether the encoders or the alignment of a space were changed since it was opened.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings when it was opened.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space, self._settings = space, settings
        self._file = space / FILE  # to join them costs as much as to look
        self._stamp: tuple[int, int] | None = None

    def require(self) -> None:
        """Raise `FingerprintMismatch` if they were; where nothing changed, that costs some 2 µs."""
        stat = self._file.stat()
        stamp = stat.st_mtime_ns, stat.st_ino
        if stamp == self._stamp:
            return
        found = SpaceSettings.read(self._space)
        if found.fingerprint != self._settings.fingerprint:
            difference = describe_difference(self._settings.components, found.components)
            raise FingerprintMismatch(
                f"{self._space} was changed since it was opened: {difference}. Its vectors cannot "
                "be compared with those of before; open it again"
            )
        self._stamp = stamp
