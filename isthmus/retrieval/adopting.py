"""How a space takes over an alignment or weights: new ones, or those of an earlier release."""

from __future__ import annotations

from isthmus.encoders.alignment.alignment import Alignment
from isthmus.encoders.fusion import Weights
from isthmus.index.alignments import keep_only, published_alignment
from isthmus.index.lock import writing
from isthmus.index.realign import realign, relay
from isthmus.index.release import Releases
from isthmus.retrieval.open_space import OpenSpace


class SpaceAdopting(OpenSpace):
    """The part of `isthmus.Space` that changes its alignment and its fusion weights."""

    def _adopt(self, alignment: Alignment | None, *, progress: bool = False) -> None:
        """Give the space another alignment, or none; the caller holds the lock of the releases."""
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            self._open(
                realign(self.path, self._catalog, self.settings, alignment, progress=progress)
            )
        keep_only(self.path, self.settings.alignment)

    def _reweigh(self, weights: Weights, *, progress: bool = False) -> None:
        """Give the space other fusion weights; the caller holds the lock of the releases."""
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            changed = self.settings.reweighed(weights)
            self._open(
                relay(
                    self.path,
                    self._catalog,
                    self.settings,
                    changed,
                    self._alignment,
                    progress=progress,
                )
            )

    def _become(self, number: int | None) -> None:
        """Give the space alignment and weights of a release that is to be current again."""
        releases = Releases(self.path)
        chosen = releases.open(releases.previous() if number is None else number)
        if not chosen.manifest.accepted or chosen.manifest.fingerprint == self.fingerprint:
            return
        chosen.verify()
        alignment = published_alignment(chosen.folder)
        for own in (self.settings.fusion, *reversed(self.settings.former_fusion)):
            weights = {str(modality): weight for modality, weight in own.items()}
            wanted = self.settings.reweighed(weights).aligned(alignment)
            if wanted.fingerprint == chosen.manifest.fingerprint:
                self._reweigh(weights)
                self._adopt(alignment)
                return
