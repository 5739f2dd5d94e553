"""Report of a fine-tuning: every domain before and after, with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from isthmus.encoders.training.finetuning.quality import DomainQuality
from isthmus.encoders.training.retrieval_quality import PerQuery
from isthmus.numerics.statistics import Estimate, estimate, interval, resampled_means

REPORT: Final = "finetuning.json"


@dataclass(frozen=True)
class DomainComparison:
    """A domain before and after, on contents that were used neither for training nor validation.

    Attributes
    ----------
    name : str
        ``target``, or the name of another domain.
    measure : {"pairs", "labels", "neighbours"}
        What is relevant. For ``neighbours`` the figures are the share of the similarity of the ten
        nearest neighbours that is kept.
    queries, searched : int
        Number of contents that search, and that are searched.
    ndcg_before, ndcg_after : Estimate
        NDCG@10 (for neighbours the similarity kept), with its 95 % bootstrap interval.
    recall_before, recall_after : Estimate
        Recall@10.
    ratio : Estimate
        NDCG@10 after over before, with a paired interval.
    """

    name: str
    measure: str
    queries: int
    searched: int
    ndcg_before: Estimate
    ndcg_after: Estimate
    recall_before: Estimate
    recall_after: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class ShareQuality:
    """Validation quality of a share of the change.

    Attributes
    ----------
    share : float
        Share of the change of the weights: 0 is the encoder before, 1 the trained one.
    target : float
        NDCG@10 in the target.
    kept : dict of str to float
        For each other domain, its quality over that before.
    """

    share: float
    target: float
    kept: dict[str, float]

    def forgets(self, allowed: float) -> bool:
        """Return whether another domain loses more than an allowed share of its quality."""
        return any(kept < 1 - allowed for kept in self.kept.values())


def compare(
    before: Mapping[str, DomainQuality], after: Mapping[str, DomainQuality]
) -> list[DomainComparison]:
    """Compare two encoders in every domain."""
    return [
        DomainComparison(
            name=name,
            measure=one.measure,
            queries=len(one.quality),
            searched=one.searched,
            ndcg_before=estimate(one.quality),
            ndcg_after=estimate(after[name].quality),
            recall_before=estimate(one.recall),
            recall_after=estimate(after[name].recall),
            ratio=ratio_of_means(after[name].quality, one.quality),
        )
        for name, one in before.items()
    ]


def ratio_of_means(after: PerQuery, before: PerQuery) -> Estimate:
    """Return the mean after over the mean before, with a paired bootstrap interval over queries.

    Examples
    --------
    >>> round(ratio_of_means(np.array([0.2, 0.4]), np.array([0.1, 0.2])).low, 9)
    2.0
    """
    means = resampled_means(np.stack([after, before], axis=1))  # (resamples, 2)
    ratios = means[:, 0] / np.maximum(means[:, 1], 1e-12)
    return Estimate(float(after.mean() / max(before.mean(), 1e-12)), *interval(ratios))


@dataclass(frozen=True)
class FinetuneReport:
    """Report of a fine-tuning.

    Attributes
    ----------
    before, after : str
        Specs; the latter opens what was saved.
    before_fingerprint, after_fingerprint : str
        Fingerprints of the two encoders.
    rows_read : int
        Pairs given.
    problems : tuple of (int, str)
        Rows that could not be used, and why.
    contents, pairs : int
        Distinct contents and pairs of the target.
    training_pairs, validation_pairs, test_pairs : int
        Pairs of each split; pairs across two splits are left out.
    anchors : int
        Anchor texts of other domains.
    trained_weights : int
        Number of trained parameters.
    skipped_frozen : bool
        Whether the outputs of the frozen layers were computed once and reused.
    losses : list of float
        Mean loss of each epoch.
    validation_scores : list of float
        NDCG@10 on the validation pairs before training and after each epoch.
    best_epoch : int
        The epoch that was taken.
    shares : list of ShareQuality
        Validation quality of shares of the change.
    share : float
        The share that was taken.
    comparisons : list of DomainComparison
        The target first, then every other domain.
    settings : dict
        Hyperparameters.
    seconds : float
        Duration of this run.
    """

    before: str
    after: str
    before_fingerprint: str
    after_fingerprint: str
    rows_read: int
    problems: tuple[tuple[int, str], ...]
    contents: int
    pairs: int
    training_pairs: int
    validation_pairs: int
    test_pairs: int
    anchors: int
    trained_weights: int
    skipped_frozen: bool
    losses: list[float]
    validation_scores: list[float]
    best_epoch: int
    shares: list[ShareQuality]
    share: float
    comparisons: list[DomainComparison]
    settings: dict[str, Any]
    seconds: float

    @property
    def target(self) -> DomainComparison:
        """The target, before and after."""
        return self.comparisons[0]

    @property
    def other_domains(self) -> dict[str, DomainComparison]:
        """Every other domain, before and after."""
        return {one.name: one for one in self.comparisons[1:]}

    def as_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON."""
        comparisons = [
            {
                name: value._asdict() if isinstance(value, Estimate) else value
                for name, value in vars(one).items()
            }
            for one in self.comparisons
        ]
        return {**asdict(self), "comparisons": comparisons}

    def save(self, folder: Path) -> None:
        """Write the report beside the model."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        (folder / REPORT).write_text(text + "\n", "utf-8")
