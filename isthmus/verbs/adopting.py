"""How a space takes over encoders, an alignment or weights: new, or of an earlier release."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from isthmus.data.media import MediaLimits, MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import ModalityWeights
from isthmus.encoders.stack import LazyEncoders
from isthmus.errors import FingerprintMismatch
from isthmus.index.catalog.alignments import keep_only, published_alignment
from isthmus.index.catalog.lock import writing
from isthmus.index.catalog.migration import Move, former_settings
from isthmus.index.catalog.vector_columns import realign, relay
from isthmus.index.releases.release import Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.store import trained_folder
from isthmus.schema import Modality
from isthmus.verbs.open_space import OpenSpace


class SpaceAdopting(OpenSpace):
    """The part of `isthmus.Space` that changes its encoders, alignment and fusion weights."""

    def _adopt(self, alignment: Alignment | None, *, progress: bool = False) -> None:
        """Give the space another alignment, or none; the caller holds the lock of the releases."""
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            self._open(
                realign(self.path, self._catalog, self.settings, alignment, progress=progress)
            )
        keep_only(self.path, self.settings.alignment)

    def _reweigh(self, weights: ModalityWeights, *, progress: bool = False) -> None:
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
        """Give the space encoders, alignment and weights of a release that is to be current."""
        releases = Releases(self.path)
        chosen = releases.open(releases.previous() if number is None else number)
        if not chosen.manifest.accepted or chosen.manifest.fingerprint == self.fingerprint:
            return
        chosen.verify()
        alignment = published_alignment(chosen.folder)
        for base in (self.settings, *former_settings(self.path)):
            for fusion in (base.fusion, *reversed(base.former_fusion)):
                weights = {str(modality): weight for modality, weight in fusion.items()}
                wanted = base.reweighed(weights).aligned(alignment)
                if wanted.fingerprint != chosen.manifest.fingerprint:
                    continue
                if base is self.settings:
                    self._reweigh(weights)
                    self._adopt(alignment)
                else:
                    self._go_back(wanted, alignment)
                return
        raise FingerprintMismatch(
            f"release {chosen.number} was made with encoder stack {chosen.manifest.fingerprint}, "
            f"which {self.path} does not know any more; choose another release, or move the space "
            "to these encoders with: isthmus reembed"
        )

    def _go_back(self, wanted: SpaceSettings, alignment: Alignment | None) -> None:
        """Give the space former encoders again; the caller holds the lock of the releases.

        What these encoded is in their caches; only what was added since goes through a model.
        """
        wanted = wanted.in_place_of(self.settings)
        move = self._moving(wanted, alignment, self._recorded(wanted))
        move.fill()
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            move.switch(move.prepare().version)
            shutil.rmtree(trained_folder(self.path), ignore_errors=True)
            self._take_over(wanted)
            move.finish(self._quarantine)
        keep_only(self.path, self.settings.alignment)

    def _moving(
        self,
        wanted: SpaceSettings,
        alignment: Alignment | None,
        encoder_of: LazyEncoders,
        *,
        http: bool = False,
    ) -> Move:
        """Give the way of the space to other encoders."""
        media = MediaStore(self.path / "media", MediaLimits(http=http))
        return Move(self.path, self._catalog, self.settings, wanted, alignment, encoder_of, media)

    def _take_over(self, wanted: SpaceSettings, encoder_of: LazyEncoders | None = None) -> None:
        """Open what the settings on disk name now."""
        self._open(wanted)
        self._encoder_of = encoder_of or self._recorded(wanted)

    def _load_from(self, specs: Mapping[Modality, str], encoder_of: LazyEncoders) -> None:
        """Take the same encoders from elsewhere; the caller holds the lock of the catalog."""
        present = SpaceSettings.read(self.path)
        if specs != present.encoders:
            moved = present.model_copy(update={"encoders": dict(specs)})
            moved.write(self.path)
            self._take_over(moved, encoder_of)

    def _recorded(
        self, settings: SpaceSettings, given: Mapping[Modality, Encoder] | None = None
    ) -> LazyEncoders:
        device = "cuda" if self._device == "all" else self._device
        return LazyEncoders(settings.encoders, settings.components, given, device=device)
