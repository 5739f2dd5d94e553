"""Search a space for what is left of a user who was forgotten.

Rows are looked for in every version of every table of users that can still be read, since their
files may be compressed. Then every byte of the space is searched for the id and for its digests.
"""

from __future__ import annotations

import hashlib
import mmap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.data.lance_manifest import versions_of
from isthmus.data.lance_tables import any_of, open_unchecked
from isthmus.data.users.merged import INTO
from isthmus.digests import digest
from isthmus.errors import command_in
from isthmus.index.open_space import OpenSpace
from isthmus.operations.statistics import describe_recommender
from isthmus.progress import progress_bar
from isthmus.schema import USER_ID, USER_TABLES

MIN_BYTES: Final = 6  # of an id that does not stand in vectors and codes by chance
HASHES: Final = ("md5", "sha1", "sha256", "sha512")
COMPACT: Final = "compact --keep-days 0"


@dataclass(frozen=True)
class Trace:
    """What is left of a user.

    Attributes
    ----------
    where : str
        Path of a file or a table, relative to the space.
    found : str
        What was found there.
    remedy : str
        A command that removes it, or what else to do.
    """

    where: str
    found: str
    remedy: str


@dataclass(frozen=True)
class ForgottenReport:
    """What a search for a user found.

    Attributes
    ----------
    user_id : str
        The user.
    verified : str
        When, in ISO 8601.
    versions, files, bytes : int
        Versions of tables whose rows were searched; files that were searched byte by byte, and
        their size.
    traces : list of Trace
        What is left.
    deleted_events : int
        How many events that the published recommender learned from are deleted by now. Its sums
        may hold some of the user until it is trained again.
    notes : list of str
        What the search cannot tell.
    seconds : float
        Duration.
    """

    user_id: str
    verified: str
    versions: int
    files: int
    bytes: int
    traces: list[Trace] = field(default_factory=list)
    deleted_events: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def forgotten(self) -> bool:
        """Whether nothing is left of the user, and no published recommender learned of it."""
        return not self.traces and not self.deleted_events

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "forgotten": self.forgotten}


def verify_forgotten(
    space: OpenSpace, user_id: str, formers: Sequence[str] = (), *, progress: bool = False
) -> ForgottenReport:
    """Search all of a space for a user, see `Space.verify_forgotten`.

    Parameters
    ----------
    space : OpenSpace
        The space.
    user_id : str
        The user.
    formers : sequence of str
        Ids that were merged into it, which are searched for as well.
    progress : bool, default False
        Whether to show a progress bar.
    """
    names = [user_id, *formers]
    started = time.monotonic()
    tables = [space.path / name for name in USER_TABLES]
    versions = [(table, version) for table in tables for version in versions_of(table)]
    traces = [trace for one in versions for trace in _rows(space, *one, names)]
    notes = [f"backups, and what a service keeps elsewhere, are not part of {space.path}"]
    patterns = [pattern for name in names for pattern in _patterns(name).items()]
    if any(len(name.encode()) < MIN_BYTES for name in names):
        notes.append(
            f"an id of fewer than {MIN_BYTES} bytes stands in vectors by chance; files were "
            "searched for its digests alone"
        )
    paths = [path for path in sorted(space.path.rglob("*")) if path.is_file()]
    searched = 0
    with progress_bar("searching", len(paths), show=progress) as advance:
        for path in paths:
            size, found = _search(path, patterns)
            searched += size
            name = path.relative_to(space.path)
            traces += [Trace(str(name), what, _remedy(space, name)) for what in found]
            advance(1)
    recommender = describe_recommender(space.view(), space.interactions)
    return ForgottenReport(
        user_id=user_id,
        verified=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=len(versions),
        files=len(paths),
        bytes=searched,
        traces=traces,
        deleted_events=0 if recommender is None else recommender["deleted_events"],
        notes=notes,
        seconds=round(time.monotonic() - started, 3),
    )


def _rows(space: OpenSpace, table: Path, version: int, user_ids: Sequence[str]) -> Iterator[Trace]:
    """Yield a trace of the rows of a user in one version of a table, if there are some."""
    dataset = open_unchecked(table, version)
    columns = [name for name in (USER_ID, INTO) if name in dataset.schema.names]
    predicate = " OR ".join(any_of(name, user_ids) for name in columns)
    rows = int(dataset.count_rows(predicate))
    if rows:
        is_newest = version == versions_of(table)[-1]
        forget = command_in(space.path, "interactions forget-user", user_ids[0])
        remedy = forget if is_newest else command_in(space.path, COMPACT)
        where = f"{table.name}, version {version}"
        yield Trace(where, f"{rows:,} rows", remedy)


def forms_of(user_id: str) -> list[str]:
    """Return the forms of an id that files are searched for."""
    return list(_patterns(user_id))


def _patterns(user_id: str) -> dict[str, bytes]:
    """Return the bytes to look for, by what they are."""
    encoded = user_id.encode()
    patterns = {f"its {name}": hashlib.new(name, encoded).hexdigest().encode() for name in HASHES}
    patterns |= {f"its {name}, binary": hashlib.new(name, encoded).digest() for name in HASHES}
    patterns["its BLAKE2b, binary"] = digest(user_id)
    if len(encoded) >= MIN_BYTES:
        patterns["its id"] = encoded
    return patterns


def _search(path: Path, patterns: Sequence[tuple[str, bytes]]) -> tuple[int, list[str]]:
    """Return the size of a file, and what stands in it; one that is gone by now has nothing."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                return 0, []
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = (what for what, one in patterns if content.find(one) >= 0)
                return size, list(dict.fromkeys(found))
    except FileNotFoundError:
        return 0, []


def _remedy(space: OpenSpace, name: Path) -> str:
    if name.parts[0] in USER_TABLES:
        return command_in(space.path, COMPACT)
    return "see whether it is the content of an item, which may name the user, and change the item"
