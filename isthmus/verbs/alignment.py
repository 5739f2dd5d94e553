"""The alignment verb of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from isthmus.data.media import MediaLimits, MediaStore
from isthmus.data.pairs import PairReader
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.training.alignment.settings import AlignmentSettings
from isthmus.errors import InvalidInput, ReleaseRejected, UnsupportedOperation
from isthmus.index.catalog.content_encoding import ContentEncoder, open_embedding_caches
from isthmus.index.catalog.lock import writing
from isthmus.index.catalog.pair_vectors import GatheredPairs, pairs_of_catalog, pairs_of_rows
from isthmus.index.releases.release import Releases
from isthmus.schema import Modality
from isthmus.verbs.publishing import SpacePublishing

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


class SpaceAligning(SpacePublishing):
    """The part of `isthmus.Space` that brings different encoders together."""

    def align(
        self,
        pairs: Any = None,
        *,
        text: str | None = None,
        image: str | None = None,
        settings: AlignmentSettings | None = None,
        http: bool = False,
        progress: bool = False,
    ) -> AlignReport:
        """Learn heads that let text and pictures of different encoders find each other.

        Vectors come from the caches, so nothing is encoded that was before. The space has one named
        vector more then, ``aligned``; those of the encoders stay as they are. Where a release is
        current, one with the alignment is published in its place, and `rollback` brings back both.

        Parameters
        ----------
        pairs : path, glob, list of those, table, frame, or list of dicts, optional
            Texts and pictures that belong together. Each file is a set of its own, or each domain
            where there is such a column. By default the items of the space that have both.
        text : str, optional
            Column or template of the text, ``text`` by default.
        image : str, optional
            Column of the picture, ``image`` by default.
        settings : AlignmentSettings, optional
            How to learn; the defaults are meant for any data.
        http : bool, default False
            Whether picture addresses may be fetched.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        AlignReport
            What it was learned from and is worth; pairs that could not be used stand in its
            problems, and stop no other.

        Raises
        ------
        InvalidInput
            If there are too few pairs, or columns are named and no pairs given.
        UnsupportedOperation
            If the space has no encoder of text and picture, or one for both.
        ReleaseRejected
            If the release misses its targets; the space has its former alignment again.
        SpaceLocked
            If another process is writing.
        """
        from isthmus.encoders.training.alignment.fit import fit_alignment

        self._require_two_encoders()
        if pairs is None and (text or image):
            raise InvalidInput("text and image name columns of pairs; give pairs too")
        gathered = self._gather(pairs, text, image, http=http, progress=progress)
        if not len(gathered.pairs):
            raise InvalidInput(_no_pairs(pairs is None, gathered.problems))
        fitted = fit_alignment(gathered.pairs, self._own_length(settings), progress=progress)
        learned = Alignment(
            dict(zip(MODALITIES, fitted.heads, strict=True)),
            {m: self.settings.encoders[m] for m in MODALITIES},
            {m: self.settings.encoder_components(m) for m in MODALITIES},
            fitted.report,
        )
        release = self._adopt_and_publish(learned, progress=progress)
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

    def _gather(
        self, pairs: Any, text: str | None, image: str | None, *, http: bool, progress: bool
    ) -> GatheredPairs:
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            caches: Mapping[Modality, EmbeddingCache] = open_embedding_caches(
                self.path, self.settings
            )
            if pairs is None:
                return pairs_of_catalog(self._catalog.snapshot(), caches)
            reader = PairReader(pairs, text, image)
            media = MediaStore(self.path / "media", MediaLimits(http=http))
            encoder = ContentEncoder(caches, media, self._encoder_of)
            return pairs_of_rows(
                reader, caches, media, encoder, count=reader.rows, progress=progress
            )

    def _own_length(self, settings: AlignmentSettings | None) -> AlignmentSettings:
        """Give the settings with a length that no other named vector has.

        A vector that is given as a query is taken for the named vector of its length.
        """
        settings = settings or AlignmentSettings()
        taken = {
            named_vector.dim for named_vector in self._named_vectors if not named_vector.alignment
        }
        dim = min(settings.dim, *taken)
        while dim in taken and dim > 1:
            dim -= 1
        return replace(settings, dim=dim)

    def _adopt_and_publish(self, learned: Alignment, *, progress: bool) -> int | None:
        """Take an alignment over; if its release is refused, go back to what was."""
        former = self._alignment
        with writing(self.path, "releases", self._wait_s):
            self._adopt(learned, progress=progress)
        if Releases(self.path).current_number() is None:
            return None
        try:
            return self.publish(progress=progress).number
        except ReleaseRejected:
            with writing(self.path, "releases", self._wait_s):
                self._adopt(former)
            raise

    def _require_two_encoders(self) -> None:
        own = [named_vector for named_vector in self._named_vectors if not named_vector.alignment]
        found = {modality for named_vector in own for modality in named_vector.modalities}
        if not set(MODALITIES) <= found:
            raise UnsupportedOperation(
                f"this space has encoders of {', '.join(sorted(found))} alone; an alignment needs "
                "one of text and one of image"
            )
        if any(set(MODALITIES) <= set(named_vector.modalities) for named_vector in own):
            raise UnsupportedOperation(
                f"text and image meet already: {self.settings.encoders['text']!r} makes both; "
                "there is nothing to align"
            )


def _no_pairs(of_catalog: bool, problems: list[str]) -> str:
    if of_catalog:
        return (
            "no item of the space has both a text and a picture; give pairs with: isthmus align "
            "--pairs FILES"
        )
    return f"no pair can be used: {'; '.join(problems[:5]) or 'the input is empty'}"
