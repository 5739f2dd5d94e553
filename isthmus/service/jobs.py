"""Jobs: what takes minutes, each in a process of its own, so that queries do not wait for it.

A job is a JSON file in the folder ``.service/jobs`` of its space, which every worker reads. Its
process writes what became of it. A job whose process is gone without a word has failed.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.api.answers import RESULTS_OF_JOBS
from isthmus.api.operations import BY_NAME, Operation
from isthmus.api.problems import internal_problem, problem_of
from isthmus.api.values import dump
from isthmus.durable import make_folder, write_atomically
from isthmus.errors import Busy, IsthmusError, UnknownRoute
from isthmus.evaluation.request import EvaluationPlan
from isthmus.service.spaces import ServedSpace
from isthmus.space import Space

FOLDER: Final = Path(".service") / "jobs"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
MAX_RUNNING: Final = 2
MAX_KEPT: Final = 100
ID_BYTES: Final = 6


class Jobs:
    """Starts the jobs of spaces, and reads what became of them."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def carry_out(self, operation: Operation, arguments: dict[str, Any], space: ServedSpace) -> Any:
        """Return the result of an operation about jobs: a job, or several."""
        folder = space.space.path / FOLDER
        if operation.name == "jobs":
            return [_shown(job) for job in _all(folder)]
        if operation.name == "job":
            return _shown(_read(folder, str(arguments["job_id"])))
        return _shown(self.start(operation.name, arguments, space))

    def start(self, name: str, arguments: dict[str, Any], space: ServedSpace) -> dict[str, Any]:
        """Start a job.

        Raises
        ------
        Busy
            If as many run already as may at a time.
        """
        folder = space.space.path / FOLDER
        make_folder(folder)
        jobs = _all(folder)
        if sum(job["state"] == RUNNING for job in jobs) >= MAX_RUNNING:
            raise Busy(f"{MAX_RUNNING} jobs of this space run already; wait for one", 60)
        for job in jobs[MAX_KEPT:]:
            (folder / f"{job['job_id']}.json").unlink(missing_ok=True)
        job = {
            "job_id": secrets.token_hex(ID_BYTES),
            "operation": name,
            "state": RUNNING,
            "created": _now(),
            "finished": None,
            "result": None,
            "problem": None,
            "arguments": arguments,
            "process": None,
            "space": space.name,
        }
        _write(folder, job)
        command = [sys.executable, "-m", "isthmus.service.jobs", str(folder), str(job["job_id"])]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        self._processes = [p for p in self._processes if p.poll() is None] + [process]
        return job


def run(folder: Path, job_id: str) -> None:
    """Carry out a job, in the process that was started for it."""
    job = _read(folder, job_id, alive=True)
    job["process"] = os.getpid()
    _write(folder, job)
    path = folder.parent.parent
    names = {str(path): job["space"]}
    try:
        name, arguments = BY_NAME[job["operation"]].name, job["arguments"]
        if name == "evaluate":
            arguments = {"plan": EvaluationPlan(**arguments)}
        result = getattr(Space.open(path), name)(**arguments)
        job |= {"state": DONE, "result": RESULTS_OF_JOBS[name].write(result)}
    except IsthmusError as error:
        job |= {"state": FAILED, "problem": problem_of(error, job_id, names)}
    except BaseException:
        traceback.print_exc()
        job |= {"state": FAILED, "problem": internal_problem(job_id)}
        raise
    finally:
        job["finished"] = _now()
        _write(folder, job)


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
    return {name: value for name, value in job.items() if name not in ("process", "space")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
