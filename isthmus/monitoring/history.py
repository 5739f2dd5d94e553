"""Measurements of a space over time, whoever made them: a cron job, a request or the live canary.

A file each, in a folder of the space, named by the time. They say what was, so nothing depends on
them: they are in no backup, and one that cannot be read is passed over.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from isthmus.durable import make_folder, remove_stale_parts, write_atomically
from isthmus.files import with_checksum, without_checksum
from isthmus.monitoring.report import MonitorReport
from isthmus.schema import MEASUREMENTS_FOLDER

KEPT: Final = 1_000  # the oldest are removed beyond
NAME: Final = "%Y%m%dT%H%M%S.%f"
REPORT: Final = TypeAdapter(MonitorReport)


class Measurements:
    """The stored measurements of a space.

    Parameters
    ----------
    space : Path
        Folder of the space.
    """

    def __init__(self, space: Path) -> None:
        self._folder = space / MEASUREMENTS_FOLDER

    def add(self, report: MonitorReport) -> None:
        """Store a measurement of now."""
        make_folder(self._folder)
        name = f"{datetime.now(UTC).strftime(NAME)}-{os.getpid()}.json"
        write_atomically(self._folder / name, with_checksum(REPORT.dump_json(report).decode()))
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        remove_stale_parts(self._folder)

    def last(self, most: int) -> list[tuple[datetime, MonitorReport]]:
        """Return the last measurements with their times in UTC, the oldest first."""
        found: list[tuple[datetime, MonitorReport]] = []
        for file in reversed(self._files()):
            if len(found) == most:
                break
            try:
                moment = datetime.strptime(file.stem.partition("-")[0], NAME).replace(tzinfo=UTC)
                report = REPORT.validate_python(without_checksum(file.read_bytes()))
                found.append((moment, report))
            except (OSError, ValueError):  # removed meanwhile, damaged, or no measurement
                continue
        return found[::-1]

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))
