"""Migrate a space to other encoders while it serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.encoders.alignment import AUTO, Alignment, AlignmentLike, resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import resolve_encoders
from isthmus.encoders.stack import EncoderStack, LazyEncoders
from isthmus.errors import (
    InvalidInput,
    UnsupportedModality,
    UnsupportedOperation,
    command_in,
    commands_for_another_space,
)
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.settings import SpaceSettings
from isthmus.operations.publishing import release_maker
from isthmus.operations.request import ReembedRequest
from isthmus.operations.switching import (
    releasing,
    switch_encoder_specs,
    switch_vectors,
    switching,
    update_quarantine,
)
from isthmus.retrieval.recommend.store import has_recommender
from isthmus.schema import MODALITIES, Modality

AlignmentFate = Literal["none", "kept", "changed", "lost"]


@dataclass(frozen=True)
class ReembedReport:
    """What a migration of a space to other encoders did.

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


def reembed(space: OpenSpace, request: ReembedRequest, *, progress: bool = False) -> ReembedReport:
    """Migrate a space to other encoders: re-encode, build a release, then switch at once."""
    started = time.monotonic()
    with switching(space):
        former = space.fingerprint
        encoders = _encoders_with(space, request)
        chosen = _alignment_for(space, encoders, request.alignment)
        stack = EncoderStack(encoders, space.settings.weights, chosen, space.settings.given_dims)
        settings = SpaceSettings.from_stack(stack).model_copy(
            update={"former_weights": space.settings.former_weights}
        )
        settings = settings.with_columns_beside(space.settings)
        given = space.recorded_encoders(settings, encoders)
        if settings.fingerprint == former:
            return _complete_switch(space, started, settings.encoders, given)
        fate = _alignment_fate(space.settings, settings)
        dropped = _leaves_recommender(space, drop=request.drop_recommender)
        maker = release_maker(space, settings, with_recommender=False, progress=progress)
        done = switch_vectors(
            space,
            settings,
            chosen,
            maker,
            encoder_of=given,
            http=request.http,
            progress=progress,
        )
        return ReembedReport(
            former=former,
            fingerprint=settings.fingerprint,
            encoders={str(m): spec for m, spec in settings.encoders.items()},
            encoded=done.encoded,
            taken_up=done.taken_up,
            quarantined=update_quarantine(space, http=request.http),
            alignment=fate,
            recommender_dropped=dropped,
            release=done.release,
            seconds=time.monotonic() - started,
        )


def _encoders_with(space: OpenSpace, request: ReembedRequest) -> dict[Modality, Encoder]:
    """Return the encoder of each modality of the space, with those of the request."""
    by_modality: dict[Modality, str | Encoder | None] = {
        "text": request.text_encoder,
        "image": request.image_encoder,
        "audio": request.audio_encoder,
    }
    for modality, one in by_modality.items():
        if one is not None and modality not in space.settings.encoders:
            raise UnsupportedModality(
                f"this space has no {modality} encoder that could be replaced; make another space "
                f"with one: isthmus create --{modality}-encoder SPEC --space NEW"
            )
    if request.encoder is None and not any(by_modality.values()):
        raise InvalidInput(
            "give the new encoder: encoder (--encoder), or one of a modality, such as "
            "text_encoder (--text-encoder)"
        )
    options: dict[str, Any] = {
        "device": space.model_device,
        "precision": request.precision,
        "prompts": request.prompts,
    }
    chosen: dict[Modality, Encoder] = {}
    if request.encoder is not None:
        chosen |= resolve_encoders(request.encoder, **options)
    if any(by_modality.values()):
        chosen |= resolve_encoders(
            "", by_modality["text"], by_modality["image"], by_modality["audio"], **options
        )
    replaced = {m: one for m, one in chosen.items() if m in space.settings.encoders}
    _require_encoded(space.settings, replaced)
    if not replaced:
        raise UnsupportedModality(
            f"the encoder takes {', '.join(chosen)}, and this space has "
            f"{', '.join(space.settings.encoders)} alone"
        )
    return {
        m: replaced[m] if m in replaced else space.encoder_of(m)
        for m in MODALITIES
        if m in space.settings.encoders
    }


def _require_encoded(settings: SpaceSettings, replaced: Mapping[Modality, Encoder]) -> None:
    """Refuse another encoder for queries of vectors that were given with the items."""
    for modality, encoder in replaced.items():
        is_given = modality not in settings.encoded_modalities
        if is_given and encoder.fingerprint != settings.encoder_fingerprint(modality):
            raise UnsupportedOperation(
                f"the vectors that {modality} queries are compared with were given with the items, "
                "and cannot be made by another encoder here; make another space with the vectors "
                f"of that encoder: {commands_for_another_space(modality, encoder.dim)}"
            )


def _alignment_for(
    space: OpenSpace, encoders: Mapping[Modality, Encoder], alignment: AlignmentLike
) -> Alignment | None:
    present = space.alignment
    if alignment == AUTO and present is not None:
        fits = all(present.fits(m, encoders[m].components) for m in present.modalities)
        if fits:
            return present
    return resolve_alignment(alignment, encoders)


def _leaves_recommender(space: OpenSpace, *, drop: bool) -> bool:
    """Return whether there is a recommender; refuse to lose one that is not to be dropped."""
    exists = has_recommender(space.path)
    if exists and not drop:
        raise UnsupportedOperation(
            f"{space.path} has a recommender that was trained on the vectors of its present "
            "encoders, and cannot use those of others; drop it with "
            "drop_recommender=True (--drop-recommender), and train anew afterwards with: "
            f"{command_in(space.path, 'train')}, {command_in(space.path, 'publish')}"
        )
    return exists


def _complete_switch(
    space: OpenSpace, started: float, specs: Mapping[Modality, str], encoder_of: LazyEncoders
) -> ReembedReport:
    """Finish what a kill may have left undone after the switch, and note where encoders lie."""
    with releasing(space), write_lock(space.path, "catalog", space.wait_s):
        switch_encoder_specs(space, specs, encoder_of)
    return ReembedReport(
        former=space.fingerprint,
        fingerprint=space.fingerprint,
        encoders={str(m): spec for m, spec in space.settings.encoders.items()},
        encoded={str(modality): 0 for modality in space.settings.encoders},
        quarantined=update_quarantine(space),
        alignment="kept" if space.settings.alignment else "none",
        seconds=time.monotonic() - started,
    )


def _alignment_fate(present: SpaceSettings, settings: SpaceSettings) -> AlignmentFate:
    if present.alignment == settings.alignment:
        return "kept" if present.alignment else "none"
    return "changed" if settings.alignment else "lost"
