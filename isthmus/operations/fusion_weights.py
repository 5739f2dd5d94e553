"""Set the fusion weights of a space, or learn the weights of its named vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.encoders.fusion import ModalityWeights
from isthmus.errors import InvalidInput, command_in
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.operations.publishing import release_maker
from isthmus.operations.request import LearnFusionRequest
from isthmus.operations.switching import store_settings, switch_vectors, switching
from isthmus.retrieval.search.fusion_weights import (
    MIN_QUERIES,
    FusionReport,
    FusionWeights,
    learn_fusion_weights,
)
from isthmus.retrieval.search.relevance import (
    Relevance,
    from_interactions,
    from_label,
    from_pairs,
)
from isthmus.retrieval.search.searcher import encode_contents


@dataclass(frozen=True)
class WeightsReport:
    """What a change of fusion weights did.

    Attributes
    ----------
    weights, former : dict of str to float
        Weight of each modality, now and before.
    vector_names : list of str
        Named vectors that were fused anew out of the embedding caches.
    release : int or None
        The release that was published with them; None where none was needed.
    """

    weights: dict[str, float]
    former: dict[str, float]
    vector_names: list[str] = field(default_factory=list)
    release: int | None = None


def modality_weights(space: OpenSpace) -> dict[str, float]:
    """Return the fusion weight of each modality."""
    return {m: float(space.settings.weights.get(m, 1.0)) for m in space.settings.encoders}


def set_weights(
    space: OpenSpace, weights: ModalityWeights, *, progress: bool = False
) -> WeightsReport:
    """Switch to other fusion weights, and publish a release with them where one is current."""
    former, columns = modality_weights(space), {v.column for v in space.named_vectors}
    release = None
    with switching(space):
        settings = space.settings.with_weights(weights)
        if settings.fingerprint == space.fingerprint:
            store_settings(space, settings)
        else:
            maker = release_maker(space, settings, with_recommender=True, progress=progress)
            switched = switch_vectors(space, settings, space.alignment, maker, progress=progress)
            release = switched.release
    fused_anew = [v.name for v in space.named_vectors if v.column not in columns]
    return WeightsReport(modality_weights(space), former, fused_anew, release)


def learn_fusion(
    space: OpenSpace,
    request: LearnFusionRequest,
    fusion_weights: FusionWeights,
    *,
    progress: bool = False,
) -> FusionReport:
    """Learn the weights of the named vectors for each kind of query, and store better ones.

    Parameters
    ----------
    space : OpenSpace
        The space.
    request : LearnFusionRequest
        What is relevant to what.
    fusion_weights : FusionWeights
        The stored weights, which are updated.
    progress : bool, default False
        Whether to show bars.
    """
    if request.pairs is not None and request.label is not None:
        raise InvalidInput("give pairs or a label to learn from, not both")
    if len(space.named_vectors) < 2:
        raise InvalidInput(
            "the items of this space have one named vector, so there is nothing to weigh; weights "
            "of the modalities that meet in it are set with: "
            f"{command_in(space.path, 'set-weights image=2')}"
        )
    view = space.view()
    relevance = _relevance(space, view, request)
    report = learn_fusion_weights(view, relevance.queries, space.vector_weights, show=progress)
    if not report.queries:
        raise InvalidInput(
            f"only {len(relevance.queries)} queries can be learned from, and {MIN_QUERIES} are "
            f"needed; {'; '.join(relevance.problems[:3]) or 'give more to learn from'}"
        )
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        fusion_weights.update(report)
    return replace(report, problems=relevance.problems)


def _relevance(space: OpenSpace, view: View, request: LearnFusionRequest) -> Relevance:
    if request.label is not None:
        return from_label(view, request.label)
    if request.pairs is not None:

        def encode(texts: Sequence[str]) -> list[Mapping[str, FloatArray]]:
            return [encode_contents(space, {"text": text}) for text in texts]

        return from_pairs(view, request.pairs, encode)
    interactions, feedback = space.training_interactions()
    n_items = len(view.living.rows)
    matrix = InteractionMatrix.from_table(interactions, view.find, n_items, feedback=feedback)
    return from_interactions(view, matrix)
