"""The live view: always what is on disk now."""

from __future__ import annotations

from pathlib import Path

from isthmus.errors import FingerprintMismatch
from isthmus.index.catalog import Catalog
from isthmus.index.current_settings import CurrentSettings
from isthmus.index.release import Release, Releases
from isthmus.index.segment import Segment
from isthmus.index.settings import SpaceSettings
from isthmus.index.view import View


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
        self._blocks = settings.layout
        self._fingerprint = settings.fingerprint
        self._settings = CurrentSettings(space, settings)
        self._device = device
        if device not in ("auto", "cpu"):
            self._devices()  # an absent GPU is refused at once
        self._known: tuple[View | None, tuple[int, int] | None] = None, None

    def now(self) -> View:
        """Give the view of this moment; where nothing changed, that costs some 50 µs.

        Raises
        ------
        CorruptRelease
            If a file of the current release is damaged.
        FingerprintMismatch
            If it was made with another encoder stack, or the space was aligned anew since it was
            opened.
        """
        self._settings.require()
        (view, known), stamp = self._known, self._releases.current_stamp()
        if view is None or known != stamp:
            release = self._open_release()  # before the snapshot, which must not be older
            view = View.open(self._catalog.snapshot(), self._blocks, release, self._place)
        elif view.snapshot.newest_version() != view.snapshot.version:
            view = view.advance(self._catalog.snapshot())
        self._known = view, stamp
        return view

    def require_settings(self) -> None:
        """Raise `FingerprintMismatch` if the space was aligned anew since it was opened."""
        self._settings.require()

    def _place(self, segment: Segment) -> Segment:
        from isthmus.index.gpu import place_segment

        return place_segment(segment, self._devices(), insist=self._device != "auto")

    def _devices(self) -> tuple[int, ...]:
        from isthmus.index.gpu import choose_devices

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
