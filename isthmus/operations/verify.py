"""Verify a space: read all of it, name what is damaged and lost, and mend what can be mended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from isthmus.data.lance_tables import tables_of
from isthmus.data.media import STORED, MediaStore
from isthmus.data.table_repair import (
    MAX_NAMED,
    TableDamage,
    check_table,
    drop_damaged_rows,
    readable_values,
    repair_table,
    values_besides,
)
from isthmus.durable import PART, remove_folder
from isthmus.errors import (
    CorruptAlignment,
    CorruptRelease,
    IsthmusError,
    ReleaseNotFound,
    command_in,
    first_line,
)
from isthmus.index.catalog.alignments import load_alignment, load_release_alignment, store_alignment
from isthmus.index.catalog.lock import is_being_written, write_lock
from isthmus.index.catalog.migration import MissingEmbeddings
from isthmus.index.catalog.precomputed import read_models
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Release, Releases
from isthmus.operations.damage import Damage
from isthmus.operations.publishing import publish
from isthmus.operations.request import PublishRequest, VerifyRequest
from isthmus.progress import progress_bar
from isthmus.retrieval.recommend.store import DESCRIPTION, load_recommender, trained_folder
from isthmus.retrieval.search.fusion_weights import LearnedFactors
from isthmus.schema import (
    CATALOG_TABLE,
    CURRENT_FILE,
    EMBEDDING_CACHE_FOLDER,
    FUSION_WEIGHTS_FILE,
    ITEM_ID,
    MANIFEST_FILE,
    MEDIA_FOLDER,
    MERGED_USERS_TABLE,
    RECOMMENDATIONS_TABLE,
    RECOMMENDER_FOLDER,
    SECOND_STAGE_FILE,
    USER_ID,
    USERS_TABLE,
    Modality,
)

REPAIR: Final = "verify --repair"
DROP: Final = "verify --repair --drop-damaged"
NOTHING: Final = "nothing"
# Rows that no file of the user brings back.
LOST_FOR_GOOD: Final = {
    RECOMMENDATIONS_TABLE: "logged recommendations",
    MERGED_USERS_TABLE: "former ids of users",
}
RECORD_CHECKS, RECORD_WAIT_S = 600, 0.05  # a writer needs milliseconds from a commit to its record
NAMED: Final = 5  # of what is lost, in a sentence

Mend = Callable[[], None]


@dataclass(frozen=True)
class VerifyReport:
    """What verifying a space found.

    Attributes
    ----------
    files, bytes : int
        Files of tables that were compared with their checksums, and their size.
    damages : list of Damage
        What is damaged.
    seconds : float
        Duration.
    """

    files: int
    bytes: int
    damages: list[Damage] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, or everything was mended."""
        return all(damage.repaired for damage in self.damages)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "sound": self.sound}


@dataclass(frozen=True)
class _Finding:
    """A damage, what mends it, and whether that publishes a release."""

    damage: Damage
    mend: Mend | None = None
    publishes: bool = False


def verify(space: OpenSpace, request: VerifyRequest, *, progress: bool = False) -> VerifyReport:
    """Read everything, name what is damaged, and mend what is asked for."""
    started = time.monotonic()
    with ExitStack() as locks:
        if request.repair or request.drop_damaged:
            for what in ("catalog", "interactions"):
                locks.enter_context(write_lock(space.path, what, space.wait_s))
        checker = _Checker(space, locked=request.repair or request.drop_damaged)
        parts = checker.parts()
        findings: list[_Finding] = []
        with progress_bar("verifying", len(parts), show=progress) as advance:
            for part in parts:
                findings += part()
                advance(1)
        in_locks = [_mended(one, request) for one in findings if one.mend is not None]
    damages = [*in_locks, *(one.damage for one in findings if one.mend is None)]
    damages += _mend_releases(space, request)
    return VerifyReport(checker.files, checker.bytes, damages, time.monotonic() - started)


def _mend_releases(space: OpenSpace, request: VerifyRequest) -> list[Damage]:
    """Check the releases, and mend them with `repair`."""
    findings = list(_release_findings(space))
    if not request.repair:
        return [one.damage for one in findings]
    with write_lock(space.path, "releases", space.wait_s):
        damages = [_mended(one, request) for one in findings if not one.publishes]
    # Publishing takes the locks itself.
    return damages + [_mended(one, request) for one in findings if one.publishes]


def _mended(finding: _Finding, request: VerifyRequest) -> Damage:
    drops = f"isthmus {DROP} " in finding.damage.remedy
    if finding.mend is None or not (request.drop_damaged if drops else request.repair):
        return finding.damage
    finding.mend()
    return replace(finding.damage, repaired=True)


class _Checker:
    """Checks the parts of a space but its releases; counts what it read."""

    def __init__(self, space: OpenSpace, *, locked: bool) -> None:
        self._space, self._path, self._locked = space, space.path, locked
        self.files = self.bytes = 0

    def parts(self) -> list[Callable[[], list[_Finding]]]:
        """Return what checks each part, the tables first."""
        tables = [partial(self._table, table) for table in tables_of(self._path)]
        files = [self._alignment, self._trained, self._fusion_weights, self._second_stage]
        return [*tables, *files, self._media]

    def _table(self, table: Path) -> list[_Finding]:
        damages, n_files, n_bytes = self._checked(table)
        self.files, self.bytes = self.files + n_files, self.bytes + n_bytes
        of_rows = [damage for damage in damages if damage.kind == "rows"]
        others = [damage for damage in damages if damage.kind != "rows"]
        findings = _with_one_mend(
            [self._found(table, damage, NOTHING, self._command(REPAIR)) for damage in others],
            partial(repair_table, table, damages),
        )
        if table.parent.name == EMBEDDING_CACHE_FOLDER:
            lost = "nothing: what is not in it is encoded again"
            found = [self._found(table, damage, lost, self._command(REPAIR)) for damage in of_rows]
            return findings + _with_one_mend(found, partial(self._mend_cache, table, of_rows))
        found = [self._lost_rows(table, damage, of_rows) for damage in of_rows]
        return findings + _with_one_mend(found, partial(drop_damaged_rows, table, of_rows))

    def _checked(self, table: Path) -> tuple[list[TableDamage], int, int]:
        """Check a table; where it is being written, wait for the record of what was committed."""
        checked, before = check_table(table), list[Path]()
        for _ in range(0 if self._locked else RECORD_CHECKS):
            records = [table / one.file for one in checked[0] if one.kind == "record"]
            unrecorded = [record for record in records if not record.exists()]
            if not records or (unrecorded == before and not is_being_written(self._path, table)):
                break
            time.sleep(RECORD_WAIT_S)
            checked, before = check_table(table), unrecorded
        return checked

    def _mend_cache(self, table: Path, damages: Sequence[TableDamage]) -> None:
        """Drop damaged rows of an embedding cache, and encode what is missing."""
        drop_damaged_rows(table, damages)
        self._encode_missing()

    def _encode_missing(self) -> None:
        space = self._space
        modalities: list[Modality] = list(space.settings.encoded_modalities)
        embeddings = MissingEmbeddings(
            space.path, space.settings, modalities, space.media(), space.encoder_of
        )
        embeddings.encode(space.catalog.snapshot())

    def _lost_rows(
        self, table: Path, damage: TableDamage, damages: Sequence[TableDamage]
    ) -> Damage:
        """Return a damage of rows that do not follow from anything else."""
        fragment = damage.fragment
        rows = 0 if fragment is None else fragment.rows
        if table.name == CATALOG_TABLE:
            names = self._lost_items(table, damages)
            lost, again = f"{rows} items{_listed(names)}", "upsert ITEMS"
        else:
            read = [] if fragment is None else readable_values(table, fragment, USER_ID)
            names = sorted(set(read))
            if table.name in LOST_FOR_GOOD:
                lost = f"{rows} {LOST_FOR_GOOD[table.name]}{_listed(names)}"
                return self._found(table, damage, lost, self._command(DROP), names[:MAX_NAMED])
            what = "users" if table.name == USERS_TABLE else "interactions"
            kind = "attributes of users" if what == "users" else "events"
            lost, again = f"{rows} {kind}{_listed(names)}", f"{what} add FILES"
        remedy = f"{self._command(DROP)}, then {self._command(again)}"
        return self._found(table, damage, lost, remedy, names[:MAX_NAMED])

    def _lost_items(self, table: Path, damages: Sequence[TableDamage]) -> list[str]:
        """Return the items of damaged rows: what can be read, and what the release has besides."""
        lost = {d.fragment.number: d.fragment for d in damages if d.fragment is not None}
        known = {name for f in lost.values() for name in readable_values(table, f, ITEM_ID)}
        with suppress(IsthmusError):
            release = Releases(self._path).last_current()
            known |= set() if release is None else set(release.segment.item_ids.to_pylist())
        return sorted(known - set(values_besides(table, lost, ITEM_ID)))

    def _alignment(self) -> list[_Finding]:
        settings = self._space.settings
        try:
            load_alignment(self._path, settings)
        except CorruptAlignment as error:
            copies = (_release_alignment(one) for one in Releases(self._path).all())
            copy = next((c for c in copies if c and c.fingerprint == settings.alignment), None)
            remedy = self._command("align" if copy is None else REPAIR)
            damage = Damage("alignments", first_line(error), "the alignment", remedy)
            if copy is None:
                return [_Finding(damage)]
            return [_Finding(damage, partial(store_alignment, self._path, copy))]
        return []

    def _trained(self) -> list[_Finding]:
        folder = trained_folder(self._path)
        if not (folder / DESCRIPTION).exists():
            return []
        try:
            load_recommender(folder)
        except CorruptRelease as error:
            name = str(folder.relative_to(self._path))
            lost = "the recommender that was trained last"
            return [_Finding(Damage(name, first_line(error), lost, self._command("train")))]
        return []

    def _fusion_weights(self) -> list[_Finding]:
        try:
            LearnedFactors.load(self._path)
        except IsthmusError as error:
            lost = "the learned fusion weights"
            remedy = f"{self._command(DROP)}, then {self._command('learn-fusion')}"
            damage = Damage(FUSION_WEIGHTS_FILE, first_line(error), lost, remedy)
            return [_Finding(damage, (self._path / FUSION_WEIGHTS_FILE).unlink)]
        return []

    def _second_stage(self) -> list[_Finding]:
        try:
            read_models(self._path)
        except IsthmusError as error:
            lost = "which models were precomputed; what they made is in the embedding caches"
            remedy = f"{self._command(DROP)}, then {self._command('precompute MODEL')}"
            damage = Damage(SECOND_STAGE_FILE, first_line(error), lost, remedy)
            return [_Finding(damage, (self._path / SECOND_STAGE_FILE).unlink)]
        return []

    def _media(self) -> list[_Finding]:
        """Check stored media, which are named after their digest."""
        store = MediaStore(self._path / MEDIA_FOLDER)
        findings = []
        for path in sorted((self._path / MEDIA_FOLDER).glob("??/*")):
            self.files, self.bytes = self.files + 1, self.bytes + path.stat().st_size
            if path.name.endswith(PART):
                continue
            if store.digest(STORED + path.name).hex() != path.name:
                lost = "the stored bytes of a picture or a sound; its vector is in the catalog"
                name = str(path.relative_to(self._path))
                findings.append(
                    _Finding(Damage(name, "is damaged", lost, self._command("upsert ITEMS")))
                )
        return findings

    def _command(self, words: str) -> str:
        return command_in(self._path, words)

    def _found(
        self, table: Path, damage: TableDamage, lost: str, remedy: str, names: Sequence[str] = ()
    ) -> Damage:
        file = str((table / damage.file).relative_to(self._path))
        return Damage(file, damage.cause, lost, remedy, tuple(names))


def _with_one_mend(damages: Sequence[Damage], mend: Mend) -> list[_Finding]:
    """Return findings that are mended together, by the first."""
    return [_Finding(one, mend if at == 0 else _done) for at, one in enumerate(damages)]


def _done() -> None:
    """Do nothing: another finding has done it."""


def _release_findings(space: OpenSpace) -> Iterator[_Finding]:
    """Check CURRENT and every release."""
    releases = Releases(space.path)
    current = None
    try:
        current = releases.current_number()
        if current is not None and current not in releases.numbers():
            releases.current()
    except CorruptRelease as error:
        last = releases.last_current()
        if last is not None:
            current = last.number
            damage = Damage(
                CURRENT_FILE, first_line(error), NOTHING, command_in(space.path, REPAIR)
            )
            yield _Finding(damage, partial(releases.make_current, last.number))
        else:
            lost = "the releases"
            yield _Finding(
                Damage(CURRENT_FILE, first_line(error), lost, command_in(space.path, "publish"))
            )
    for number in releases.numbers():
        yield from _of_release(space, releases, number, is_current=number == current)


def _of_release(
    space: OpenSpace, releases: Releases, number: int, *, is_current: bool
) -> Iterator[_Finding]:
    folder = releases.folder_of(number)
    try:
        damaged = list(releases.open(number).damaged_files())
    except ReleaseNotFound:
        return  # another process removed it just now
    except CorruptRelease:
        damaged = [MANIFEST_FILE]
    repair = command_in(space.path, REPAIR)
    for name in damaged:
        file, cause = str((folder / name).relative_to(space.path)), "is missing or damaged"
        if not is_current:
            lost = f"the way back to release {number}"
            yield _Finding(Damage(file, cause, lost, repair), partial(remove_folder, folder))
        elif name.startswith(RECOMMENDER_FOLDER):
            lost = "the recommender"
            remedy = f"{command_in(space.path, 'train')}, then {command_in(space.path, 'publish')}"
            yield _Finding(Damage(file, cause, lost, remedy))
        else:
            mend = partial(_publish_again, space, releases, number)
            yield _Finding(Damage(file, cause, NOTHING, repair), mend, publishes=True)


def _publish_again(space: OpenSpace, releases: Releases, damaged: int) -> None:
    """Build the release anew; of several damaged files the first has done it."""
    if releases.current_number() == damaged:
        publish(space, PublishRequest(rebuild=True))
        remove_folder(releases.folder_of(damaged))


def _release_alignment(release: Release) -> Any:
    try:
        return load_release_alignment(release.folder)
    except IsthmusError:
        return None


def _listed(names: Sequence[str]) -> str:
    """Return names for a sentence."""
    if not names:
        return ""
    return f" ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
