"""How a space takes over an alignment: one that was learned, or that of an earlier release."""

from __future__ import annotations

from isthmus.encoders.alignment.alignment import Alignment
from isthmus.index.alignments import keep_only, published_alignment
from isthmus.index.lock import writing
from isthmus.index.realign import realign
from isthmus.index.release import Releases
from isthmus.retrieval.open_space import OpenSpace


class SpaceAdopting(OpenSpace):
    """The part of `isthmus.Space` that changes its alignment."""

    def _adopt(self, alignment: Alignment | None, *, progress: bool = False) -> None:
        """Give the space another alignment, or none; the caller holds the lock of the releases."""
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            self._open(
                realign(self.path, self._catalog, self.settings, alignment, progress=progress)
            )
        keep_only(self.path, self.settings.alignment)

    def _align_as(self, number: int | None) -> None:
        """Give the space the alignment of a release that is to be current again."""
        releases = Releases(self.path)
        chosen = releases.open(releases.previous() if number is None else number)
        if not chosen.manifest.accepted or chosen.manifest.fingerprint == self.fingerprint:
            return
        chosen.verify()
        alignment = published_alignment(chosen.folder)
        if self.settings.aligned(alignment).fingerprint == chosen.manifest.fingerprint:
            self._adopt(alignment)
