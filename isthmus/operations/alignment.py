"""Learn an alignment of the text and image encoders of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from isthmus.data.pairs import PairReader
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import InvalidInput, UnsupportedOperation, command_in
from isthmus.index.catalog.alignments import store_alignment
from isthmus.index.catalog.content_encoding import ContentEncoder, open_embedding_caches
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.pair_vectors import GatheredPairs, pairs_from_catalog, pairs_from_rows
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Releases
from isthmus.operations.publishing import publish, release_maker
from isthmus.operations.request import AlignRequest, PublishRequest
from isthmus.operations.switching import switch_vectors, switching
from isthmus.schema import Modality

if TYPE_CHECKING:
    from isthmus.encoders.embedding_cache import EmbeddingCache

MODALITIES: tuple[Modality, Modality] = ("text", "image")


@dataclass(frozen=True)
class AlignReport:
    """What an alignment was learned from, and what it is worth.

    Attributes
    ----------
    fingerprint : str
        Of the alignment.
    pairs : dict of str to int
        Pairs of each set.
    held_out : int
        Pairs that were held out.
    recall : dict
        For ``aligned`` and ``cca``, the closed form it starts from: for each set recall@10 from
        text to picture and back on the pairs held out, and what a random order has.
    encoded : dict of str to int
        Contents of the pairs that went through a model, by modality.
    problems : list of str
        Pairs that were left out, by name, and why.
    release : int or None
        The release that was published with it; None where the space had none before.
    seconds : dict of str to float
        What the closed form and the learning took.
    """

    fingerprint: str
    pairs: dict[str, int]
    held_out: int
    recall: dict[str, Any]
    encoded: dict[str, int]
    problems: list[str] = field(default_factory=list)
    release: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def align(
    space: OpenSpace,
    request: AlignRequest,
    settings: AlignmentSettings | None = None,
    *,
    progress: bool = False,
) -> AlignReport:
    """Learn an alignment, switch to it, and publish a release with it where one is current."""
    from isthmus.encoders.training.alignment.fit import fit_alignment

    _require_two_encoders(space)
    if request.pairs is None and (request.text or request.image):
        raise InvalidInput("text and image name columns of pairs; give pairs too")
    gathered = _gather(space, request, progress=progress)
    if not len(gathered.pairs):
        raise InvalidInput(_no_pairs(request.pairs is None, gathered.problems))
    fitted = fit_alignment(gathered.pairs, _with_unique_dim(space, settings), progress=progress)
    learned = Alignment(
        dict(zip(MODALITIES, fitted.heads, strict=True)),
        {m: space.settings.encoders[m] for m in MODALITIES},
        {m: space.settings.encoder_components(m) for m in MODALITIES},
        fitted.report,
    )
    release = _switch_and_publish(space, learned, progress=progress)
    return AlignReport(
        fingerprint=learned.fingerprint,
        pairs=fitted.report["pairs"],
        held_out=fitted.report["held_out"],
        recall=fitted.report["recall@10"],
        encoded=gathered.encoded or dict.fromkeys(MODALITIES, 0),
        problems=gathered.problems,
        release=release,
        seconds=fitted.report["seconds"],
    )


def _gather(space: OpenSpace, request: AlignRequest, *, progress: bool) -> GatheredPairs:
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        caches: Mapping[Modality, EmbeddingCache] = open_embedding_caches(
            space.path, space.settings
        )
        if request.pairs is None:
            return pairs_from_catalog(space.catalog.snapshot(), caches)
        reader = PairReader(request.pairs, request.text, request.image)
        media = space.media(http=request.http)
        encoder = ContentEncoder(caches, media, space.encoder_of)
        return pairs_from_rows(reader, caches, media, encoder, count=reader.rows, progress=progress)


def _with_unique_dim(space: OpenSpace, settings: AlignmentSettings | None) -> AlignmentSettings:
    """Return the settings with a dim that no other named vector has.

    A vector that is given as a query belongs to the named vector of its dim.
    """
    settings = settings or AlignmentSettings()
    taken = {named_vector.dim for named_vector in space.named_vectors if not named_vector.alignment}
    dim = min(settings.dim, *taken)
    while dim in taken and dim > 1:
        dim -= 1
    return replace(settings, dim=dim)


def _switch_and_publish(space: OpenSpace, learned: Alignment, *, progress: bool) -> int | None:
    """Switch to an alignment, together with a release of its vectors where one is current."""
    with switching(space):
        settings = space.settings.with_alignment(learned)
        if settings.fingerprint != space.fingerprint:
            maker = release_maker(space, settings, with_recommender=True, progress=progress)
            return switch_vectors(space, settings, learned, maker, progress=progress).release
        with write_lock(space.path, "catalog", space.wait_s):
            store_alignment(space.path, learned)  # which may mend a damaged one
    if Releases(space.path).current_number() is None:
        return None
    return publish(space, PublishRequest(), progress=progress).number


def _require_two_encoders(space: OpenSpace) -> None:
    encoded_vectors = [v for v in space.named_vectors if not (v.alignment or v.given)]
    encoded = {modality for v in encoded_vectors for modality in v.modalities}
    if not set(MODALITIES) <= encoded:
        raise UnsupportedOperation(
            f"this space encodes {', '.join(sorted(encoded)) or 'nothing'} alone; an alignment "
            "needs an encoder of text and one of images"
        )
    if any(set(MODALITIES) <= set(v.modalities) for v in encoded_vectors):
        raise UnsupportedOperation(
            f"text and images have one encoder already: {space.settings.encoders['text']!r}; "
            "there is nothing to align"
        )


def _no_pairs(of_catalog: bool, problems: list[str]) -> str:
    if of_catalog:
        return (
            "no item of the space has both a text and a picture; give pairs with: "
            f"{command_in(None, 'align --pairs FILES')}"
        )
    return f"no pair can be used: {'; '.join(problems[:5]) or 'the input is empty'}"
