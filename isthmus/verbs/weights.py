"""The verbs of a space about fusion: its weights, and what they are learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.encoders.fusion import ModalityWeights
from isthmus.errors import InvalidInput, ReleaseRejected
from isthmus.index.catalog.lock import writing
from isthmus.index.releases.release import Releases
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.fusion_weights import (
    MIN_QUERIES,
    FusionReport,
    learn_fusion_weights,
)
from isthmus.retrieval.search.relevance import (
    Relevance,
    from_interactions,
    from_label,
    from_pairs,
)
from isthmus.verbs.publishing import SpacePublishing


@dataclass(frozen=True)
class WeightsReport:
    """What a change of fusion weights came to.

    Attributes
    ----------
    weights, former : dict of str to float
        Weight of each modality, now and before.
    vector_names : list of str
        Blocks whose vectors were made anew out of the embedding caches.
    release : int or None
        The release that was published with them; None where none was needed.
    """

    weights: dict[str, float]
    former: dict[str, float]
    vector_names: list[str] = field(default_factory=list)
    release: int | None = None


class SpaceWeighing(SpacePublishing):
    """The part of `isthmus.Space` that weighs modalities and named vectors."""

    @property
    def weights(self) -> dict[str, float]:
        """Fusion weight of each modality."""
        return {m: float(self.settings.fusion.get(m, 1.0)) for m in self.settings.encoders}

    def set_weights(self, weights: ModalityWeights, *, progress: bool = False) -> WeightsReport:
        """Give the space other fusion weights; nothing is encoded.

        Where several modalities meet in one named vector, its vectors are fused anew out of the
        caches, and where a release is current, one with them is published in its place; `rollback`
        brings back both. Where none meet, the weights count from now on. A process that has the
        space open must open it again.

        Parameters
        ----------
        weights : mapping of str to float
            Weight of some modalities; the others keep theirs.
        progress : bool, default False
            Whether to show bars.

        Raises
        ------
        InvalidInput
            If a modality has no encoder, or a weight is no good.
        ReleaseRejected
            If the release misses its targets; the space has its former weights again.
        SpaceLocked
            If another process is writing.
        """
        former, columns = (
            self.weights,
            {named_vector.column for named_vector in self._named_vectors},
        )
        with writing(self.path, "releases", self._wait_s):
            self._reweigh(weights, progress=progress)
        made = [
            named_vector.name
            for named_vector in self._named_vectors
            if named_vector.column not in columns
        ]
        release = None
        if made and Releases(self.path).current_number() is not None:
            try:
                release = self.publish(progress=progress).number
            except ReleaseRejected:
                with writing(self.path, "releases", self._wait_s):
                    self._reweigh(former)
                raise
        return WeightsReport(self.weights, former, made, release)

    def learn_fusion(
        self, pairs: Any = None, *, label: str | None = None, progress: bool = False
    ) -> FusionReport:
        """Learn how much each named vector counts, for each kind of query.

        From then on `search` and `similar` weigh the named vectors of a query as was learned for
        queries of its kind, unless a query brings `weights`. Learned weights that are no better
        than those of the space on held-out queries are not stored. No vector changes.

        Parameters
        ----------
        pairs : path, glob, list of those, table, frame, or list of dicts, optional
            Column ``item_id``, an item that belongs to a query, beside ``like``, an item, or
            ``text``. By default items that the same users liked belong together.
        label : str, optional
            In the place of pairs, an attribute: items of one value belong together.
        progress : bool, default False
            Whether to show bars.

        Raises
        ------
        InvalidInput
            If there are too few queries, no such attribute, or the items have one named vector
            alone.
        InvalidMapping
            If a column is absent.
        """
        if pairs is not None and label is not None:
            raise InvalidInput("give pairs or a label to learn from, not both")
        if len(self._named_vectors) < 2:
            raise InvalidInput(
                "the items of this space have one named vector, so there is nothing to weigh; "
                "weights of "
                "the modalities that meet in it are set with: isthmus weights image=2"
            )
        view = self._live.now()
        relevance = self._relevance(view, pairs, label)
        report = learn_fusion_weights(view, relevance.queries, self._weights, show=progress)
        if not report.queries:
            raise InvalidInput(
                f"only {len(relevance.queries)} queries can be learned from, and {MIN_QUERIES} are "
                f"needed; {'; '.join(relevance.problems[:3]) or 'give more to learn from'}"
            )
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            self._fusion_weights.update(report)
        return replace(report, problems=relevance.problems)

    def _relevance(self, view: View, pairs: Any, label: str | None) -> Relevance:
        if label is not None:
            return from_label(view, label)
        if pairs is not None:
            return from_pairs(view, pairs, self._encode_texts)
        interactions, least = self._learnable(None)
        living = len(view.living.rows)
        matrix = InteractionMatrix.from_table(interactions, view.find, living, positive_from=least)
        return from_interactions(view, matrix)

    def _encode_texts(self, texts: Sequence[str]) -> list[Mapping[str, FloatArray]]:
        return [self._encode({"text": text}) for text in texts]
