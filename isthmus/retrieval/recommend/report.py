"""Reports of the training of rankers, stored beside the rankers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.candidates.situations import DESCRIPTIONS
from isthmus.retrieval.ranker.distillation_report import RankerDistillation
from isthmus.retrieval.ranker.situation_report import MIN_USERS, SituationReport
from isthmus.retrieval.source_domains.lift import Lift, harmful


class Trial(BaseModel):
    """Hyperparameters that were tried.

    Attributes
    ----------
    settings : dict
        The hyperparameters by name.
    score : float
        NDCG@10 of users that were not trained on, mean over the situations.
    pruned : bool
        Whether the trial was stopped early.
    """

    model_config = ConfigDict(extra="forbid")
    settings: dict[str, Any]
    score: float
    pruned: bool


class TuningReport(BaseModel):
    """The trials of a hyperparameter search, and the best of them.

    Attributes
    ----------
    trials : list of Trial
        In order; the first has the settings that the search started from.
    best : dict
        The hyperparameters of the trial with the largest score of those that were not pruned.
    """

    model_config = ConfigDict(extra="forbid")
    trials: list[Trial]
    best: dict[str, Any]


class RankerReport(BaseModel):
    """The report of the training of one ranker.

    Attributes
    ----------
    domain : str
        The target domain.
    pretrained_on : list of str
        Domains that it was trained on before.
    lifts : dict of str to Lift
        Lift by the histories of other domains, where it was measured.
    tuning : TuningReport or None
        The hyperparameter search, if there was one.
    distillation : RankerDistillation or None
        The trained ranker beside the distilled one that replaced it, if it was distilled. In that
        case `situations` describe the one that it was distilled from.
    situations : dict of str to SituationReport
        By how much is known of the users, see `isthmus.retrieval.candidates.situations`.
    left_out : dict of str to str
        Candidate generators that could not be used, and why.
    stages : dict of str to float
        Seconds of processor time of each stage.
    seconds : float
        Duration, with the making of candidates.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    pretrained_on: list[str]
    lifts: dict[str, Lift] = {}
    tuning: TuningReport | None = None
    distillation: RankerDistillation | None = None
    situations: dict[str, SituationReport]
    left_out: dict[str, str] = {}
    stages: dict[str, float] = {}
    seconds: float

    @property
    def ignored(self) -> list[str]:
        """The domains whose histories hurt, and which are ignored."""
        return harmful(self.lifts)

    def shortfalls(self) -> list[str]:
        """Return a message for each situation in which a generator alone is significantly better.

        With fewer than 20 simulated users nothing is significant, whatever the interval says. A
        situation that falls back on its best generator is not behind it.
        """
        return [
            f"the ranker of {self.domain} loses to {outcome.best} alone in the situation "
            f"{DESCRIPTIONS[name]!r} (NDCG@10 {outcome.ranker:.4f} against "
            f"{outcome.generators[outcome.best]:.4f}, {outcome.users} simulated users)"
            for name, outcome in self.situations.items()
            if outcome.high < 0 and not outcome.fallback and outcome.users >= MIN_USERS
        ]
