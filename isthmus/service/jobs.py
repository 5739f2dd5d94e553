"""Jobs: what takes minutes, each in a process of its own, so that queries do not wait for it.

A job is a JSON file in the folder ``.service/jobs`` of its space, which every worker reads. Its
process writes what became of it. A job whose process is gone without a word has failed. Tables of
items, events and users wait in a queue: one process carries them out in the order in which they
came, and ends when none is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.api.answers import RESULTS_OF_JOBS
from isthmus.api.operations import BY_NAME, Operation
from isthmus.api.problems import internal_problem, problem_of
from isthmus.api.tables import TABLES
from isthmus.api.values import dump
from isthmus.durable import make_folder, write_atomically
from isthmus.errors import Busy, IsthmusError, UnknownRoute
from isthmus.evaluation.request import EvaluationPlan
from isthmus.service.spaces import ServedSpace
from isthmus.service.uploads import read_upload
from isthmus.space import Space

FOLDER: Final = Path(".service") / "jobs"
QUEUE_LOCK: Final = "queue.lock"
WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
ENDED: Final = (DONE, FAILED)
MAX_RUNNING: Final = 2
MAX_WAITING: Final = 100
MAX_KEPT: Final = 100
ID_BYTES: Final = 6
HIDDEN: Final = ("process", "space", "hidden", "queued")


class Jobs:
    """Starts the jobs of spaces, and reads what became of them."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tended: set[Path] = set()
        self._lock = threading.Lock()

    def carry_out(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        space: ServedSpace,
        hidden: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of an operation about jobs: a job, or several.

        Parameters
        ----------
        operation : Operation
            The operation.
        arguments : dict
            Its arguments.
        space : ServedSpace
            The space.
        hidden : mapping of str to str, optional
            Arguments in the place of those that are shown: paths and addresses.
        """
        folder = space.space.path / FOLDER
        if operation.name == "jobs":
            self._wake(folder)
            return [_shown(job) for job in _all(folder)]
        if operation.name == "job":
            self._wake(folder)
            return _shown(_read(folder, str(arguments["job_id"])))
        return self.start(operation.name, arguments, space, hidden)

    def start(
        self,
        name: str,
        arguments: dict[str, Any],
        space: ServedSpace,
        hidden: Mapping[str, str] | None = None,
        *,
        queued: bool = False,
    ) -> dict[str, Any]:
        """Start a job, or let it wait for those that came before.

        Raises
        ------
        Busy
            If as many run, or wait, already as may at a time.
        """
        folder = space.space.path / FOLDER
        make_folder(folder)
        jobs = _all(folder)
        before = [job for job in jobs if bool(job.get("queued")) == queued]
        before = [job for job in before if job["state"] not in ENDED]
        if len(before) >= (MAX_WAITING if queued else MAX_RUNNING):
            raise Busy(f"{len(before)} jobs of this space are not done yet; wait for one", 60)
        for job in [job for job in jobs if job["state"] in ENDED][MAX_KEPT:]:
            (folder / f"{job['job_id']}.json").unlink(missing_ok=True)
        job = {
            "job_id": secrets.token_hex(ID_BYTES),
            "operation": name,
            "state": WAITING if queued else RUNNING,
            "created": _now(),
            "finished": None,
            "result": None,
            "problem": None,
            "arguments": arguments,
            "hidden": dict(hidden or {}),
            "queued": queued,
            "process": None,
            "space": space.name,
        }
        _write(folder, job)
        if queued:
            self._tend(folder)
        else:
            self._processes = [p for p in self._processes if p.poll() is None]
            self._processes.append(begin(folder, str(job["job_id"])))
        return _shown(job)

    def _wake(self, folder: Path) -> None:
        """Go on with what waits, if nobody does so: a process may have been killed."""
        if any(job["state"] == WAITING for job in _all(folder)) and _is_free(folder):
            self._tend(folder)

    def _tend(self, folder: Path) -> None:
        """Have a thread start the process of a queue, unless one does; never two at a time."""
        with self._lock:
            if folder in self._tended:
                return
            self._tended.add(folder)
        threading.Thread(target=self._run_queue, args=(folder,), daemon=True).start()

    def _run_queue(self, folder: Path) -> None:
        """Start the process of a queue, and another one for what came while it ended."""
        while True:
            failed = begin(folder).wait() != 0
            with self._lock:
                # A job is written before `_tend` looks, so it is seen here or tended anew.
                if failed or not _waiting(folder) or not _is_free(folder):
                    self._tended.discard(folder)
                    return


def begin(folder: Path, job_id: str | None = None) -> subprocess.Popen[bytes]:
    """Start the process of a job, or that of a queue."""
    command = [sys.executable, "-m", "isthmus.service.jobs", str(folder)]
    return subprocess.Popen(
        command if job_id is None else [*command, job_id],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def run_queue(folder: Path) -> None:
    """Carry out the jobs that wait, one after another, unless another process does so."""
    while True:
        with _turn(folder) as mine:
            if not mine:
                return
            while waiting := _waiting(folder):
                run(folder, waiting[0])
        # One that came after the last look found the lock taken, and left it to this process.
        if not _waiting(folder):
            return


def run(folder: Path, job_id: str) -> None:
    """Carry out a job, in the process that was started for it."""
    job = _read(folder, job_id, alive=True)
    job |= {"process": os.getpid(), "state": RUNNING}
    _write(folder, job)
    path = folder.parent.parent
    hidden = job["hidden"]
    names = {str(path): job["space"], **dict.fromkeys(hidden.values(), "the body")}
    table = TABLES.get(job["operation"]) if job["queued"] else None
    try:
        name, given = BY_NAME[job["operation"]].name, {**job["arguments"], **hidden}
        if table is not None:
            given[table] = read_upload(Path(hidden[table]))
        if name == "evaluate":
            given = {"plan": EvaluationPlan(**given)}
        space = Space.open(path)
        space.opened.local_files = False
        result = getattr(space, name)(**given)
        job |= {"state": DONE, "result": RESULTS_OF_JOBS[name].write(result)}
    except IsthmusError as error:
        job |= {"state": FAILED, "problem": problem_of(error, job_id, names)}
    except Exception:
        traceback.print_exc()
        job |= {"state": FAILED, "problem": internal_problem(job_id)}
    finally:
        if job["state"] == RUNNING:  # it is being stopped
            job |= {"state": FAILED, "problem": internal_problem(job_id)}
        job["finished"] = _now()
        _write(folder, job)
        if table is not None:
            Path(hidden[table]).unlink(missing_ok=True)


@contextmanager
def _turn(folder: Path) -> Iterator[bool]:
    """Hold the lock of the queue; yields whether it was free."""
    make_folder(folder)
    with (folder / QUEUE_LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # closing the file gives the lock back


def _is_free(folder: Path) -> bool:
    """Return whether no process carries out the queue."""
    with _turn(folder) as free:
        return free


def _waiting(folder: Path) -> list[str]:
    """Return the ids of the jobs that wait, the oldest first."""
    return [str(job["job_id"]) for job in reversed(_all(folder)) if job["state"] == WAITING]


def _all(folder: Path) -> list[dict[str, Any]]:
    """Return the jobs of a space, the newest first."""
    names = sorted(path.stem for path in folder.glob("*.json")) if folder.exists() else []
    jobs = [_read(folder, name) for name in names]
    return sorted(jobs, key=lambda job: str(job["created"]), reverse=True)


def _read(folder: Path, job_id: str, *, alive: bool = False) -> dict[str, Any]:
    """Return a job; one whose process is gone has failed, unless it is known to be alive."""
    path = folder / f"{job_id}.json"
    if not job_id.isalnum() or not path.is_file():
        raise UnknownRoute(f"there is no job {job_id[:40]!r}")
    job: dict[str, Any] = json.loads(path.read_bytes())
    process = job["process"]
    if not alive and job["state"] == RUNNING and process is not None and not _runs(process):
        job = json.loads(path.read_bytes())  # it may have ended since
        if job["state"] == RUNNING:
            job |= {"state": FAILED, "problem": internal_problem(job_id)}
    return job


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not sys.platform.startswith("linux")


def _write(folder: Path, job: dict[str, Any]) -> None:
    write_atomically(folder / f"{job['job_id']}.json", dump(job))


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in HIDDEN}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    jobs_folder, *job_ids = sys.argv[1:]
    if job_ids:
        run(Path(jobs_folder), job_ids[0])
    else:
        run_queue(Path(jobs_folder))
