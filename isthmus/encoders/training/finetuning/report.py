"""What a fine-tuning came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.encoders.training.finetuning.interpolation import ShareTried
from isthmus.encoders.training.finetuning.quality import Interval, Mark, mean_of, ratio_of

REPORT: Final = "finetuning.json"


@dataclass(frozen=True)
class Compared:
    """A domain before and after, on contents that were neither learned from nor chosen on.

    Attributes
    ----------
    name : str
        ``target``, or the name of another domain.
    measure : {"pairs", "labels", "neighbours"}
        What should be found; for ``neighbours`` the figures tell how much of the similarity of
        the ten nearest, by the vectors of before, is kept.
    queries, searched : int
        Contents that asked, and that were searched.
    ndcg_before, ndcg_after : Interval
        NDCG@10 (for neighbours the similarity kept).
    recall_before, recall_after : Interval
        Recall@10.
    ratio : Interval
        NDCG@10 after over before, the same queries drawn for both.
    """

    name: str
    measure: str
    queries: int
    searched: int
    ndcg_before: Interval
    ndcg_after: Interval
    recall_before: Interval
    recall_after: Interval
    ratio: Interval


def compare(before: Mapping[str, Mark], after: Mapping[str, Mark]) -> list[Compared]:
    """Put the marks of two encoders side by side, domain by domain."""
    return [
        Compared(
            name=name,
            measure=own.measure,
            queries=len(own.quality),
            searched=own.searched,
            ndcg_before=mean_of(own.quality),
            ndcg_after=mean_of(after[name].quality),
            recall_before=mean_of(own.recall),
            recall_after=mean_of(after[name].recall),
            ratio=ratio_of(after[name].quality, own.quality),
        )
        for name, own in before.items()
    ]


@dataclass(frozen=True)
class FinetuneReport:
    """What a fine-tuning came to.

    Attributes
    ----------
    before, after : str
        Specs; that of after opens what was saved.
    before_fingerprint, after_fingerprint : str
        Of the two encoders.
    rows_read : int
        Pairs given.
    problems : tuple of (int, str)
        Rows that could not be used, and why.
    contents, pairs : int
        Distinct ones of the target.
    learned, chosen, measured : int
        Pairs that were learned from, chosen on, and measured on; those across two parts are
        left out.
    anchors : int
        Texts of other domains that were held on to.
    trained_weights : int
        How many numbers were trained.
    skipped_frozen : bool
        Whether the frozen layers were run once and not again.
    losses : list of float
        Mean loss of each pass.
    qualities : list of float
        NDCG@10 on the pairs for choosing, before and after each pass.
    best_pass : int
        The pass that was taken.
    tried : list of ShareTried
        Shares of the change, on the contents for choosing.
    share : float
        The share that was taken.
    compared : list of Compared
        The target first, then every other domain.
    settings : dict
        As they were given.
    seconds : float
        All that it took, this time.
    """

    before: str
    after: str
    before_fingerprint: str
    after_fingerprint: str
    rows_read: int
    problems: tuple[tuple[int, str], ...]
    contents: int
    pairs: int
    learned: int
    chosen: int
    measured: int
    anchors: int
    trained_weights: int
    skipped_frozen: bool
    losses: list[float]
    qualities: list[float]
    best_pass: int
    tried: list[ShareTried]
    share: float
    compared: list[Compared]
    settings: dict[str, Any]
    seconds: float

    @property
    def target(self) -> Compared:
        """The target, before and after."""
        return self.compared[0]

    @property
    def elsewhere(self) -> dict[str, Compared]:
        """Every other domain, before and after."""
        return {one.name: one for one in self.compared[1:]}

    def as_dict(self) -> dict[str, Any]:
        """Give everything by name, ready for JSON."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write the report beside the model."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        (folder / REPORT).write_text(text + "\n", "utf-8")
