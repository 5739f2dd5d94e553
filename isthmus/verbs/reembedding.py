"""The verb of a space that moves it to other encoders while it goes on serving."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from isthmus.data.media import MediaLimits, MediaStore
from isthmus.encoders.alignment import AUTO, Alignment, AlignmentLike, resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import resolve_encoders
from isthmus.encoders.stack import EncoderStack, LazyEncoders
from isthmus.errors import InvalidInput, UnsupportedModality, UnsupportedOperation
from isthmus.index.catalog.alignments import keep_only
from isthmus.index.catalog.lock import writing
from isthmus.index.catalog.migration import Move, settle
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.vector_columns import drop_unnamed
from isthmus.index.releases.release import Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.store import has_recommender, trained_folder
from isthmus.schema import MODALITIES, Modality
from isthmus.verbs.publishing import SpacePublishing

LOCK = "reembedding"

Switch = Callable[[], None]
AlignmentFate = Literal["none", "kept", "changed", "lost"]


@dataclass(frozen=True)
class ReembedReport:
    """What moving a space to other encoders did.

    Attributes
    ----------
    former, fingerprint : str
        Of the encoder stack before, and now.
    encoders : dict of str to str
        Spec of each modality's encoder now.
    encoded : dict of str to int
        Contents that went through a model, by modality; what an earlier, interrupted run encoded
        is not among them.
    taken_up : int
        Items that were added or changed while the release was built.
    quarantined : int
        Items with a content that the new encoders could not take.
    alignment : {"none", "kept", "changed", "lost"}
        What became of the alignment: one that was learned for other encoders is lost.
    recommender_dropped : bool
        Whether there was a trained recommender, which learned from the former vectors.
    release : int or None
        The release that was published; None where the space had none before.
    seconds : float
        How long it took.
    """

    former: str
    fingerprint: str
    encoders: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=dict)
    taken_up: int = 0
    quarantined: int = 0
    alignment: AlignmentFate = "none"
    recommender_dropped: bool = False
    release: int | None = None
    seconds: float = 0.0


class SpaceReembedding(SpacePublishing):
    """The part of `isthmus.Space` that moves it to other encoders."""

    def reembed(
        self,
        encoder: str | Encoder | None = None,
        *,
        text_encoder: str | Encoder | None = None,
        image_encoder: str | Encoder | None = None,
        audio_encoder: str | Encoder | None = None,
        alignment: AlignmentLike = AUTO,
        drop_recommender: bool = False,
        precision: str = "auto",
        http: bool = False,
        progress: bool = False,
    ) -> ReembedReport:
        """Move the space to other encoders.

        Every content is encoded into an cache of its own while the space goes on as it is: it
        answers, takes new items and deletes. An interrupt, or a kill, loses seconds of that; run
        the same again. Then a release is built of the new vectors and measured, and only if it is
        accepted the space switches: settings, vectors and release at once. Whoever has the space
        open is told to open it again. `rollback` goes back to the former encoders.

        Where the encoders are those of the space, at another place perhaps, nothing is encoded,
        and the space loads them from there.

        Parameters
        ----------
        encoder : str or Encoder, optional
            In the place of the encoder of each modality of the space that it takes.
        text_encoder, image_encoder, audio_encoder : str or Encoder, optional
            In the place of the encoder of one modality; the others stay.
        alignment : Alignment, path, ``"auto"`` or None, default "auto"
            As for `create`; by default the present one stays if it was learned for these
            encoders.
        drop_recommender : bool, default False
            Go on although a recommender was trained on the former vectors, and leave it behind;
            train a new one afterwards.
        precision : str, default "auto"
            What the new encoders compute in, see `create`.
        http : bool, default False
            Whether addresses of pictures and audio may be fetched.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        ReembedReport
            What was encoded, and what became of alignment and recommender.

        Raises
        ------
        InvalidInput
            If no encoder is given.
        UnsupportedModality
            If the space has nothing that the encoder could take.
        UnsupportedOperation
            If there is a trained recommender, and it is not to be dropped.
        ReleaseRejected
            If the release misses its targets; the space stays as it was.
        SpaceLocked
            If another process moves the space, or is writing for long.
        """
        started = time.monotonic()
        with writing(self.path, LOCK, self._wait_s):
            self._live.require_settings()
            former = self.fingerprint
            encoders = self._with_others(
                encoder,
                {"text": text_encoder, "image": image_encoder, "audio": audio_encoder},
                precision,
            )
            chosen = self._alignment_for(encoders, alignment)
            stack = EncoderStack(encoders, self.settings.fusion, chosen)
            wanted = SpaceSettings.of_stack(stack).model_copy(
                update={"former_fusion": self.settings.former_fusion}
            )
            wanted = wanted.in_place_of(self.settings)
            given = self._recorded(wanted, encoders)
            if wanted.fingerprint == former:
                return self._make_whole(started, wanted.encoders, given)
            fate = _fate(self.settings, wanted)
            dropped = self._leave_recommender(drop_recommender)
            move = self._moving(wanted, chosen, given, http=http)
            move.fill(progress=progress)
            release = self._switch(move, wanted, progress=progress)
            self._take_over(wanted, given)
            with writing(self.path, "catalog", self._wait_s):
                quarantined = move.finish(self._quarantine)
            keep_only(self.path, wanted.alignment)
            return ReembedReport(
                former=former,
                fingerprint=wanted.fingerprint,
                encoders={str(m): spec for m, spec in wanted.encoders.items()},
                encoded=move.encoded,
                taken_up=move.taken_up,
                quarantined=quarantined,
                alignment=fate,
                recommender_dropped=dropped,
                release=release,
                seconds=time.monotonic() - started,
            )

    def _switch(self, move: Move, wanted: SpaceSettings, *, progress: bool) -> int | None:
        """Build a release of the new vectors beside the old, and let both take over at once."""
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            with _given_up(move):
                both = move.prepare(progress=progress)
        switched = False

        def switch() -> None:
            nonlocal switched
            with writing(self.path, "catalog", self._wait_s):
                self._live.require_settings()
                move.switch(both.version)
                switched = True
                shutil.rmtree(trained_folder(self.path), ignore_errors=True)

        try:
            with writing(self.path, "releases", self._wait_s):
                self._live.require_settings()
                return self._publish_moved(both, wanted, switch, progress=progress)
        finally:
            if not switched:
                with writing(self.path, "catalog", self._wait_s):
                    move.give_up()

    def _publish_moved(
        self, both: Snapshot, wanted: SpaceSettings, switch: Switch, *, progress: bool
    ) -> int | None:
        if Releases(self.path).current_number() is None:
            switch()
            return None
        publisher = self._publisher(self.settings.index, settings=wanted)
        return publisher.publish(both, switch=switch, progress=progress).number

    def _with_others(
        self,
        encoder: str | Encoder | None,
        own: Mapping[Modality, str | Encoder | None],
        precision: str,
    ) -> dict[Modality, Encoder]:
        """Give the encoder of each modality of the space, others where they are given."""
        for modality, one in own.items():
            if one is not None and modality not in self.settings.encoders:
                raise UnsupportedModality(
                    f"this space has no {modality} encoder that could be replaced; make a space "
                    f"with one"
                )
        if encoder is None and not any(own.values()):
            raise InvalidInput(
                "give the encoder to move to: encoder (--encoder), or one of a modality, such as "
                "text_encoder (--text-encoder)"
            )
        device = "cuda" if self._device == "all" else self._device
        found: dict[Modality, Encoder] = {}
        if encoder is not None:
            found |= resolve_encoders(encoder, device=device, precision=precision)
        if any(own.values()):
            found |= resolve_encoders(
                "", own["text"], own["image"], own["audio"], device=device, precision=precision
            )
        taken = {m: one for m, one in found.items() if m in self.settings.encoders}
        if not taken:
            raise UnsupportedModality(
                f"the encoder takes {', '.join(found)}, and this space has "
                f"{', '.join(self.settings.encoders)} alone"
            )
        return {
            m: taken[m] if m in taken else self._encoder_of(m)
            for m in MODALITIES
            if m in self.settings.encoders
        }

    def _alignment_for(
        self, encoders: Mapping[Modality, Encoder], alignment: AlignmentLike
    ) -> Alignment | None:
        present = self._alignment
        if alignment == AUTO and present is not None:
            fits = all(present.fits(m, encoders[m].components) for m in present.modalities)
            if fits:
                return present
        return resolve_alignment(alignment, encoders)

    def _leave_recommender(self, drop: bool) -> bool:
        """Tell whether there is a recommender; refuse to lose one that is not to be dropped."""
        there = has_recommender(self.path)
        if there and not drop:
            raise UnsupportedOperation(
                f"{self.path} has a recommender that was trained on the vectors of its present "
                "encoders, and cannot use those of others; leave it behind with "
                "drop_recommender=True (--drop-recommender), and train anew afterwards with: "
                "isthmus train, isthmus publish"
            )
        return there

    def _make_whole(
        self, started: float, specs: Mapping[Modality, str], encoder_of: LazyEncoders
    ) -> ReembedReport:
        """Finish what a kill may have left undone after the switch, and note where encoders lie."""
        release = None
        current = Releases(self.path).current()
        if current is not None and current.manifest.fingerprint != self.fingerprint:
            release = self.publish(rebuild=True, keep_recommender=True).number
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            self._load_from(specs, encoder_of)
            drop_unnamed(self._catalog, self.settings)
            quarantined = settle(
                self.path,
                self._catalog,
                self.settings,
                self._alignment,
                self._encoder_of,
                MediaStore(self.path / "media", MediaLimits()),
                self._quarantine,
            )
        return ReembedReport(
            former=self.fingerprint,
            fingerprint=self.fingerprint,
            encoders={str(m): spec for m, spec in self.settings.encoders.items()},
            encoded={str(modality): 0 for modality in self.settings.encoders},
            quarantined=quarantined,
            alignment="kept" if self.settings.alignment else "none",
            release=release,
            seconds=time.monotonic() - started,
        )


@contextmanager
def _given_up(move: Move) -> Iterator[None]:
    """Drop what was prepared where what is inside fails."""
    try:
        yield
    except BaseException:
        move.give_up()
        raise


def _fate(present: SpaceSettings, wanted: SpaceSettings) -> AlignmentFate:
    if present.alignment == wanted.alignment:
        return "kept" if present.alignment else "none"
    return "changed" if wanted.alignment else "lost"
