"""The log of recommendations: rows wait in a bounded queue, and a thread stores them.

An answer never waits for the log. The thread stores what waits every second, in the order in which
it was given; a write that fails is tried again with the next. Where the queue is full, the newest
row is dropped and counted, with a warning at the first.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4
from weakref import WeakSet

from isthmus.data.recommendations import PROPENSITY, RecommendationStore
from isthmus.errors import IsthmusError, warn
from isthmus.index.catalog.lock import DEFAULT_WAIT_S, write_lock
from isthmus.retrieval.recommend.experiments import Assigned
from isthmus.retrieval.recommend.exploration import Explored
from isthmus.retrieval.recommend.request import RecommendRequest
from isthmus.retrieval.search.results import Hits
from isthmus.schema import ITEM_ID, RECOMMENDATION_ID, TIME, USER_ID

CAPACITY: Final = 10_000  # rows that wait
INTERVAL_S: Final = 1.0
BETWEEN_CLEANUPS_S: Final = 3_600.0

Row = dict[str, Any]


NOT_IN_LOG: Final = frozenset(
    ("user", "scenario", "experiment", "log", "offset", "cursor", "attributes", "explain")
)


def logged_row(
    request: RecommendRequest, answer: Hits, offset: int, drawn: Explored, assigned: Assigned
) -> Row:
    """Return what the log says of a list, under a new id.

    Parameters
    ----------
    request : RecommendRequest
        What was asked for, without the rules of a scenario.
    answer : Hits
        The list.
    offset : int
        Places before it.
    drawn : Explored
        What was left to chance.
    assigned : Assigned
        The arm of an experiment.
    """
    arguments = {name: getattr(request, name) for name in request.model_fields_set - NOT_IN_LOG}
    return {
        RECOMMENDATION_ID: uuid4().hex,
        USER_ID: request.user.id,
        TIME: datetime.now(UTC),
        "release": answer.release,
        "scenario": request.scenario,
        "experiment": assigned.experiment,
        "arm": assigned.arm,
        "request": json.dumps(arguments, sort_keys=True, default=str),
        "offset": offset,
        ITEM_ID: [hit.item_id for hit in answer],
        "score": [hit.score for hit in answer],
        PROPENSITY: drawn.propensities.tolist(),
        "explored": drawn.explored.tolist(),
    }


@dataclass(frozen=True)
class LogCounts:
    """What became of the recommendations that this process logged.

    Attributes
    ----------
    written, waiting, dropped : int
        Stored; not stored yet; lost, because the queue was full or the process ended before a write
        succeeded.
    failures : int
        Writes that failed; their rows were kept, and tried again.
    error : str or None
        The last failure, until a write succeeds.
    """

    written: int = 0
    waiting: int = 0
    dropped: int = 0
    failures: int = 0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)


class RecommendationLog:
    """Stores recommendations in the background.

    Parameters
    ----------
    folder : Path
        The space.
    keep_days : float
        Days after which a recommendation is deleted.
    wait_s : float
        How long a write waits for another writer, in seconds.
    capacity : int
        Rows that may wait.
    """

    def __init__(
        self,
        folder: Path,
        keep_days: float,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        capacity: int = CAPACITY,
    ) -> None:
        self._folder, self.keep_days = folder, keep_days
        self._wait_s, self._capacity = wait_s, capacity
        self._cleaned = 0.0
        self._begin()
        _open_logs.add(self)

    def _begin(self) -> None:
        """Begin without rows; those that a parent process left are its own to store."""
        self._pid = os.getpid()
        self._store = RecommendationStore(self._folder)
        self._rows: deque[Row] = deque()
        self._state = threading.Condition()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._written = self._dropped = self._failures = 0
        self._error: str | None = None
        self._ends = False

    def put(self, row: Row) -> None:
        """Let a row wait to be stored; the newest is dropped where too many wait."""
        if self._pid != os.getpid():
            self._begin()
        with self._state:
            if len(self._rows) >= self._capacity:
                self._dropped += 1
                is_first = self._dropped == 1
            else:
                is_first = False
                self._rows.append(row)
                if self._thread is None or not self._thread.is_alive():
                    self._ends = False
                    self._thread = threading.Thread(
                        target=self._run, name="isthmus-recommendation-log", daemon=True
                    )
                    self._thread.start()
        if is_first:
            warn(
                f"{self._capacity:,} recommendations wait to be logged, so further ones are lost; "
                f"{self._error or 'the disk is too slow'}"
            )

    @property
    def counts(self) -> LogCounts:
        """What became of the rows of this process."""
        if self._pid != os.getpid():
            return LogCounts()
        with self._state:
            return LogCounts(
                self._written, len(self._rows), self._dropped, self._failures, self._error
            )

    def flush(self) -> LogCounts:
        """Store what waits now, and return the counts.

        Raises
        ------
        SpaceLocked
            If another process is writing interactions; the rows wait on.
        """
        if self._pid == os.getpid():
            self._write()
        return self.counts

    def forget(self, user_id: str) -> None:
        """Drop the waiting rows of a user."""
        if self._pid != os.getpid():
            return
        with self._writing, self._state:
            self._rows = deque(row for row in self._rows if row[USER_ID] != user_id)

    def close(self) -> None:
        """Store what waits and end the thread; what cannot be stored counts as dropped."""
        if self._pid != os.getpid():
            return
        with self._state:
            self._ends = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        try:
            self._write()
        except (IsthmusError, OSError) as error:
            with self._state:
                self._dropped += len(self._rows)
                lost = len(self._rows)
                self._rows.clear()
            warn(f"{lost:,} recommendations were not logged: {error}")

    def _run(self) -> None:
        while True:
            with self._state:
                if self._state.wait_for(lambda: self._ends, INTERVAL_S):
                    return
            try:
                self._write()
            except Exception as error:  # counted, and tried again
                with self._state:
                    self._failures += 1
                    self._error = str(error)

    def _write(self) -> None:
        """Store the rows that wait, in their order, and delete those that are too old."""
        with self._writing:
            with self._state:
                rows = list(self._rows)
            if not rows:
                return
            with write_lock(self._folder, "interactions", self._wait_s):
                self._store.add(rows)
                if time.monotonic() - self._cleaned > BETWEEN_CLEANUPS_S or not self._cleaned:
                    self._store.delete_before(datetime.now(UTC) - timedelta(days=self.keep_days))
                    self._cleaned = time.monotonic()
            with self._state:
                for _ in rows:
                    self._rows.popleft()
                self._written += len(rows)
                self._error = None


_open_logs: WeakSet[RecommendationLog] = WeakSet()


@atexit.register
def _close_logs() -> None:
    for log in list(_open_logs):
        log.close()
