"""Downloads: addresses fetched ahead of a job, many at a time, into a folder of the job.

A job fetches before it takes the lock of the catalog, so that slow servers hold up nobody else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

from isthmus.data.addresses import MediaLimits
from isthmus.digests import digest
from isthmus.errors import InvalidMedia

FETCHES = 16  # at a time


class Downloads:
    """Files of addresses, deleted with the job.

    Parameters
    ----------
    folder : Path
        Where each job has a folder, named by its process.
    limits : MediaLimits
        Limits of each fetch.
    """

    def __init__(self, folder: Path, limits: MediaLimits) -> None:
        self._parent = folder
        self._folder = folder / f"{os.getpid()}.{threading.get_ident()}"
        self._limits = limits
        self._failures: dict[str, str] = {}

    def __enter__(self) -> Downloads:
        for job in self._parent.iterdir() if self._parent.is_dir() else ():
            if not _runs(job.name.partition(".")[0]):
                shutil.rmtree(job, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another job has its folder there
            self._parent.rmdir()

    def fetch(self, urls: Iterable[str]) -> None:
        """Fetch addresses, each once; failures are kept for `path`."""
        pool = ThreadPoolExecutor(FETCHES, "isthmus-fetch")
        waiting: set[Future[None]] = set()
        try:
            for url in _distinct(urls):
                waiting.add(pool.submit(self._fetch, url))
                if len(waiting) >= 2 * FETCHES:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    _raise_errors(done)
            _raise_errors(wait(waiting).done)
        finally:
            pool.shutdown(cancel_futures=True)

    def path(self, url: str) -> Path | None:
        """Return the file of an address; None if it was not fetched.

        Raises
        ------
        InvalidMedia
            If it could not be fetched.
        """
        if url in self._failures:
            raise InvalidMedia(self._failures[url])
        path = self._file(url)
        return path if path.exists() else None

    def _fetch(self, url: str) -> None:
        from isthmus.data.fetch import fetch_into

        file = self._file(url)
        try:
            with file.open("wb") as out:
                fetch_into(out, url, self._limits)
        except InvalidMedia as error:
            self._failures[url] = str(error)
            file.unlink()

    def _file(self, url: str) -> Path:
        return self._folder / digest(url).hex()


def _distinct(urls: Iterable[str]) -> Iterable[str]:
    seen: set[bytes] = set()
    for url in urls:
        key = digest(url)
        if key not in seen:
            seen.add(key)
            yield url


def _raise_errors(done: Iterable[Future[None]]) -> None:
    for future in done:
        future.result()


def _runs(process: str) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
