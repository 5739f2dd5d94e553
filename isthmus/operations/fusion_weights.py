"""The verbs of a space about fusion: its weights, and what they are learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.encoders.fusion import Weights
from isthmus.errors import InvalidInput, ReleaseRejected
from isthmus.index.catalog.lock import writing
from isthmus.index.releases.release import Releases
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.metrics import PerUser, ranking_metrics
from isthmus.numerics.statistics import Estimate, estimate
from isthmus.retrieval.search.fusion.gate import Gate
from isthmus.retrieval.search.fusion.gates import LearnedFusion
from isthmus.retrieval.search.fusion.relevance import (
    Asked,
    Relevance,
    from_interactions,
    from_label,
    from_pairs,
)
from isthmus.retrieval.search.query import answer
from isthmus.verbs.publishing import SpacePublishing

FEWEST: Final = 50
HELD_OUT: Final = 0.3
K: Final = 10


@dataclass(frozen=True)
class WeightsReport:
    """What a change of fusion weights came to.

    Attributes
    ----------
    weights, former : dict of str to float
        Weight of each modality, now and before.
    blocks : list of str
        Blocks whose vectors were made anew out of the embedding caches.
    release : int or None
        The release that was published with them; None where none was needed.
    """

    weights: dict[str, float]
    former: dict[str, float]
    blocks: list[str] = field(default_factory=list)
    release: int | None = None


@dataclass(frozen=True)
class FusionReport:
    """What learned fusion is worth, on queries that were not learned from.

    Attributes
    ----------
    queries : dict of str to int
        Queries of each kind that were learned from.
    held_out : dict of str to int
        Queries of each kind that were measured on.
    ndcg : dict
        NDCG@10 on these for each kind: of ``fixed``, the space's weights; ``gated``, which needs
        no learning; ``weights``, learned but the same for all queries; ``learned``, by the
        evidence of each query.
    gain : dict
        For each kind and each of the last three, its NDCG@10 less that of ``fixed``, with the
        95 % interval.
    kept : dict of str to str
        For each kind what the space has from now on: ``learned``, ``weights``, or ``fixed`` where
        neither is better.
    factors : dict
        For each kind that is kept, what the weight of each block is multiplied by on average.
    problems : list of str
        What could not be used, and why.
    """

    queries: dict[str, int]
    held_out: dict[str, int]
    ndcg: dict[str, dict[str, float]]
    gain: dict[str, dict[str, Estimate]]
    kept: dict[str, str]
    factors: dict[str, dict[str, float]]
    problems: list[str] = field(default_factory=list)


class SpaceWeighing(SpacePublishing):
    """The part of `isthmus.Space` that weighs modalities and blocks."""

    @property
    def weights(self) -> dict[str, float]:
        """Fusion weight of each modality."""
        return {m: float(self.settings.fusion.get(m, 1.0)) for m in self.settings.encoders}

    def set_weights(self, weights: Weights, *, progress: bool = False) -> WeightsReport:
        """Give the space other fusion weights; nothing is encoded.

        Where several modalities meet in one block, its vectors are fused anew out of the caches,
        and where a release is current, one with them is published in its place; `rollback`
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
        former, columns = self.weights, {block.column for block in self._blocks}
        with writing(self.path, "releases", self._wait_s):
            self._reweigh(weights, progress=progress)
        made = [block.name for block in self._blocks if block.column not in columns]
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
        """Learn how much each block counts, query by query.

        From then on `search` and `similar` weigh the blocks of a query by what was learned for
        queries of its kind; ``fusion="fixed"`` asks for the weights of the space alone. What is
        no better than these on queries held out is not kept. No vector changes.

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
            If there are too few queries, no such attribute, or the items have one block alone.
        InvalidMapping
            If a column is absent.
        """
        if pairs is not None and label is not None:
            raise InvalidInput("give pairs or a label to learn from, not both")
        if len(self._blocks) < 2:
            raise InvalidInput(
                "the items of this space have one block, so there is nothing to weigh; weights of "
                "the modalities that meet in it are set with: isthmus weights image=2"
            )
        view = self._live.now()
        relevance = self._relevance(view, pairs, label)
        kinds = {one.kind: 0 for one in relevance.asked}
        report = FusionReport({}, {}, {}, {}, {}, {}, relevance.problems)
        kept: dict[str, Gate] = {}
        for kind in kinds:
            asked = [one for one in relevance.asked if one.kind == kind]
            if len(asked) >= FEWEST:
                kept |= self._learn(view, kind, asked, report, show=progress)
        if not report.queries:
            raise InvalidInput(
                f"only {len(relevance.asked)} queries can be learned from, and {FEWEST} are "
                f"needed; {'; '.join(relevance.problems[:3]) or 'give more to learn from'}"
            )
        known = self._gates.learned()
        gates = {**({} if known is None else known.gates), **kept}
        gates = {kind: gate for kind, gate in gates.items() if report.kept.get(kind) != "fixed"}
        with writing(self.path, "catalog", self._wait_s):
            self._live.require_settings()
            LearnedFusion(self.fingerprint, gates).save(self.path)
        return report

    def _relevance(self, view: View, pairs: Any, label: str | None) -> Relevance:
        if label is not None:
            return from_label(view, label)
        if pairs is not None:
            return from_pairs(view, pairs, self._encode_texts)
        interactions, least = self._learnable(None)
        living = len(view.living.rows)
        matrix = InteractionMatrix.of(interactions, view.find, living, positive_from=least)
        return from_interactions(view, matrix)

    def _encode_texts(self, texts: Sequence[str]) -> list[Mapping[str, FloatArray]]:
        return [self._encode({"text": text}) for text in texts]

    def _learn(
        self, view: View, kind: str, asked: list[Asked], report: FusionReport, *, show: bool
    ) -> dict[str, Gate]:
        """Learn the gate of a kind of query, and report what it is worth."""
        from isthmus.retrieval.search.fusion.learn import learn_gate, make_examples

        order = np.random.default_rng(0).permutation(len(asked))
        cut = round(len(asked) * (1 - HELD_OUT))
        learned, held_out = ([asked[at] for at in part] for part in (order[:cut], order[cut:]))
        names = [block.name for block in view.blocks]
        samples = self._gates.samples
        examples = make_examples(view, learned, samples, show=show)
        exam = make_examples(view, held_out, samples, show=show)
        gates = {
            "fixed": None,
            "gated": self._gates.unlearned(view),
            "weights": learn_gate(names, examples, self._weights, gated=False),
            "learned": learn_gate(names, examples, self._weights),
        }
        found = {}
        for name, gate in gates.items():
            factors = [{} if gate is None else gate.factors(one.evidence) for one in exam]
            found[name] = self._ndcg(view, held_out, factors)
        means = {name: float(values.mean()) for name, values in found.items()}
        best = max(("fixed", "weights", "learned"), key=lambda name: means[name])
        report.queries[kind], report.held_out[kind] = len(learned), len(held_out)
        report.ndcg[kind] = means
        report.gain[kind] = {
            name: estimate(values - found["fixed"])
            for name, values in found.items()
            if name != "fixed"
        }
        report.kept[kind] = best
        gate = gates[best]
        if gate is None:
            return {}
        some = [gate.factors(one.evidence) for one in exam]
        report.factors[kind] = {
            name: float(np.mean([own[name] for own in some if name in own] or [1.0]))
            for name in names
        }
        return {kind: gate}

    def _ndcg(
        self, view: View, asked: Sequence[Asked], factors: Sequence[Mapping[str, float]]
    ) -> PerUser:
        queries = [replace(one.query, gate=own) for one, own in zip(asked, factors, strict=True)]
        lists = answer(view, queries, K, None, self._weights)
        hits = np.zeros((len(asked), K), bool)
        for row, one, (rows, _) in zip(hits, asked, lists, strict=True):
            row[: len(rows)] = np.isin(rows, one.wanted)
        wanted = np.array([one.count for one in asked])
        return ranking_metrics(hits, wanted, [K])[f"ndcg@{K}"]
