"""The live view: always what is on disk now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import FingerprintMismatch
from isthmus.index.ann.segment import Segment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.releases.apply_delta import advance, open_view
from isthmus.index.releases.current_settings import CurrentSettings
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings

SETTLED_NS = 1_000_000_000  # longer than what any file system counts time in


@dataclass(frozen=True)
class Seen:
    """A view, and what was on disk when it was made.

    Attributes
    ----------
    view : View
        The view.
    release : (int, int) or None
        Stamp of the current release.
    touched : int or None
        When the catalog was last touched, if that was well before it was looked at: a version
        may come within the tick of the clock that the last one came in.
    """

    view: View
    release: tuple[int, int] | None
    touched: int | None = None


class LiveView:
    """Keeps a view up to date with the catalog and the current release.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    settings : SpaceSettings
        Its settings; a release of another encoder stack is refused, and so is every question
        once they were changed on disk.
    device : str, default "auto"
        What holds the indexes, see `choose_devices`.
    """

    def __init__(
        self,
        space: Path,
        catalog: Catalog,
        settings: SpaceSettings,
        device: str = "auto",
    ) -> None:
        self._releases = Releases(space)
        self._catalog = catalog
        self._named_vectors = settings.layout
        self._fingerprint = settings.fingerprint
        self._settings = CurrentSettings(space, settings)
        self._device = device
        if device not in ("auto", "cpu"):
            self._devices()  # an absent GPU is refused at once
        self._seen: Seen | None = None

    def now(self) -> View:
        """Give the view of this moment; where nothing changed, that costs some 10 µs.

        Raises
        ------
        CorruptRelease
            If a file of the current release is damaged.
        FingerprintMismatch
            If it was made with another encoder stack, or the space was aligned anew since it was
            opened.
        """
        self._settings.require()
        seen, stamp = self._seen, self._releases.current_stamp()
        if seen is None or seen.release != stamp:
            release = self._open_release()  # before the snapshot, which must not be older
            view = open_view(self._catalog.snapshot(), self._named_vectors, release, self._place)
            self._seen = Seen(view, stamp)
            return view
        touched = self._catalog.touched()
        if touched == seen.touched:
            return seen.view
        settled = time.time_ns() - touched > SETTLED_NS
        self._seen = Seen(self._caught_up(seen.view), stamp, touched if settled else None)
        return self._seen.view

    def _caught_up(self, view: View) -> View:
        if view.snapshot.newest_version() == view.snapshot.version:
            return view
        return advance(view, self._catalog.snapshot())

    def require_settings(self) -> None:
        """Raise `FingerprintMismatch` if the space was aligned anew since it was opened."""
        self._settings.require()

    def _place(self, segment: Segment) -> Segment:
        from isthmus.index.ann.gpu import place_segment

        return place_segment(segment, self._devices(), insist=self._device != "auto")

    def _devices(self) -> tuple[int, ...]:
        from isthmus.index.ann.gpu import choose_devices

        return choose_devices(self._device)

    def _open_release(self) -> Release | None:
        release = self._releases.current()
        if release is not None and release.manifest.fingerprint != self._fingerprint:
            raise FingerprintMismatch(
                f"release {release.number} was made with encoder stack "
                f"{release.manifest.fingerprint}, the space has {self._fingerprint}; build one "
                "with: isthmus publish"
            )
        return release
