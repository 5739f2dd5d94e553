"""The served spaces: opened once a process, opened again when their settings change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from isthmus.errors import FingerprintMismatch, UnknownRoute
from isthmus.index.releases.live import USED_RELEASES
from isthmus.schema import SPACE_FILE
from isthmus.service.batching import BatchedQueries, Observe
from isthmus.service.settings import ServeSettings
from isthmus.space import Space

MAX_ATTEMPTS: Final = 5

OpenSpace = Callable[[Path], Space]


class ServedSpace:
    """A space that is served.

    Parameters
    ----------
    name : str
        What it is called outside; never its path.
    path : Path
        Its folder.
    open_space : callable
        Opens it.
    text_batch : int
        Most texts that are encoded together.
    retention : float, optional
        Days that logged recommendations are kept, in the place of those of the space.
    observe : callable, optional
        Is told of texts that were encoded together, see `QueryBatcher`.

    Attributes
    ----------
    ingest : ThreadPoolExecutor
        Writes items, one request at a time.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        open_space: OpenSpace,
        text_batch: int,
        retention: float | None = None,
        observe: Observe | None = None,
    ) -> None:
        self.name, self._path = name, path
        self._file = str(path / SPACE_FILE)
        self._open, self._text_batch = open_space, text_batch
        self._lock = threading.Lock()
        self._stamp = self._settings_stamp()
        self._retention, self._observe = retention, observe
        self._space = self._opened()
        self.ingest = ThreadPoolExecutor(1, "ingest")

    @property
    def space(self) -> Space:
        """The space, as its settings are on disk now."""
        stamp = self._settings_stamp()
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._space, self._stamp = self._opened(), stamp
        return self._space

    def answer(self, verb: Callable[[Space], Any], *, again: bool) -> tuple[Any, int]:
        """Return what a verb returns, and the release that it was answered from.

        Parameters
        ----------
        verb : callable
            The verb, of the space.
        again : bool
            Whether it may be done again, where a release came in its midst.
        """
        for _ in range(MAX_ATTEMPTS):
            used: list[int] = []
            token = USED_RELEASES.set(used)
            space = self.space
            try:
                result = verb(space)
            except FingerprintMismatch:
                if space is not self.space and again:  # it moved to other encoders meanwhile
                    continue
                raise
            finally:
                USED_RELEASES.reset(token)
            if not again or len(set(used)) < 2:
                break
        return result, used[-1] if used else space.current_release or 0

    def _opened(self) -> Space:
        space = self._open(self._path)
        space.opened.local_files = False
        if self._retention is not None:
            space.recommendation_log.keep_days = self._retention
        space.opened.encoder_of = BatchedQueries(
            space.opened.encoder_of, self._text_batch, self._observe
        )
        return space

    def _settings_stamp(self) -> tuple[int, int]:
        stat = os.stat(self._file)  # noqa: PTH116  # every request comes here
        return stat.st_mtime_ns, stat.st_ino


class ServedSpaces:
    """All spaces that a process serves.

    Parameters
    ----------
    settings : ServeSettings
        Which, and how.
    open_space : callable, optional
        Opens one.
    observe : callable, optional
        Is told, with the name of the space, of texts that were encoded together.
    """

    def __init__(
        self,
        settings: ServeSettings,
        open_space: OpenSpace | None = None,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        opened = open_space or (lambda path: Space.open(path, device=settings.device))
        self.by_name = {
            name: ServedSpace(
                name,
                path,
                opened,
                settings.text_batch,
                settings.retention,
                None if observe is None else partial(observe, name),
            )
            for name, path in settings.spaces.items()
        }
        self.paths: dict[str, str] = {}
        for name, path in settings.spaces.items():
            for spelled in {path, path.absolute(), path.resolve()}:
                self.paths[str(spelled)] = name

    def named(self, name: str | None) -> ServedSpace:
        """Return the space of a name, or the only one.

        Raises
        ------
        UnknownRoute
            If there is none of the name, or several and no name.
        """
        if name is None and len(self.by_name) == 1:
            return next(iter(self.by_name.values()))
        if name is None:
            raise UnknownRoute("several spaces are served; ask one: /v1/spaces/NAME/...")
        if name not in self.by_name:
            raise UnknownRoute(f"no space {name!r} is served here")
        return self.by_name[name]
