"""What the training of a head came to, as it is kept beside the head."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.source_domains.lift import Lift, harmful

ALL = "all"
FEWEST_USERS = 20


class Trial(BaseModel):
    """Settings that were tried.

    Attributes
    ----------
    settings : dict
        Those that were searched for, by name.
    score : float
        The best NDCG@10 of the tested users, mean over the cases.
    pruned : bool
        Whether it was given up before its end.
    """

    model_config = ConfigDict(extra="forbid")
    settings: dict[str, Any]
    score: float
    pruned: bool


class TuningReport(BaseModel):
    """All that was tried, and what is best of it.

    Attributes
    ----------
    trials : list of Trial
        In their order; the first has the settings that were given.
    best : dict
        The settings of the trial with the largest score of those that were not given up.
    """

    model_config = ConfigDict(extra="forbid")
    trials: list[Trial]
    best: dict[str, Any]


class CaseReport(BaseModel):
    """NDCG@10 of the tested users in one case.

    Attributes
    ----------
    users : int
        How many.
    head : float
        The head's.
    sources : dict of str to float
        That of each source alone.
    best : str
        The best source.
    low, high : float
        95 % interval of the head's gain over it: a paired bootstrap, corrected for as many
        comparisons as there are sources.
    coverage : dict of str to float
        Share of what was liked that a source proposed, and the union of all (``"union"``).
    """

    model_config = ConfigDict(extra="forbid")
    users: int
    head: float
    sources: dict[str, float]
    best: str
    low: float
    high: float
    coverage: dict[str, float]


class HeadFigures(BaseModel):
    """What a head is worth, and what it costs.

    Attributes
    ----------
    ndcg, recall : float
        NDCG@10 and recall@200 of the tested users.
    parameters : int
        Numbers that it consists of.
    milliseconds : float
        To score the candidates of one user, features given; the median.
    """

    model_config = ConfigDict(extra="forbid")
    ndcg: float
    recall: float
    parameters: int
    milliseconds: float


class HeadDistillation(BaseModel):
    """A small head beside the one that it was distilled from, on users neither was trained on.

    Attributes
    ----------
    teacher, student : HeadFigures
        Both.
    low, high : float
        95 % interval of the student's NDCG@10 less the teacher's, users drawn anew.
    users : int
        How many were tested.
    """

    model_config = ConfigDict(extra="forbid")
    teacher: HeadFigures
    student: HeadFigures
    low: float
    high: float
    users: int

    @property
    def speed_ratio(self) -> float:
        """How many times as fast the student is."""
        return self.teacher.milliseconds / self.student.milliseconds

    @property
    def size_ratio(self) -> float:
        """How many times as small the student is."""
        return self.teacher.parameters / self.student.parameters


class HeadReport(BaseModel):
    """What the training of a head came to.

    Attributes
    ----------
    domain : str
        The target domain.
    pretrained_on : list of str
        Domains that it learned on before.
    lifts : dict of str to Lift
        What the histories of other domains are worth, where the guard measured it.
    tuning : TuningReport or None
        The settings that were tried, where it was tuned.
    distillation : HeadDistillation or None
        The trained head beside the small one that took its place, where that was asked for;
        `cases` are of the small one then, `loss` and `curve` of the first.
    cases : dict of str to CaseReport
        By what was shown of the users, see `Case`, and all of them together (``"all"``).
    loss : list of float
        Mean training loss of each pass.
    curve : list of float
        NDCG@10 of the tested users, mean over the cases, before training and after each pass.
    seconds : float
        How long it took, candidates included.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    pretrained_on: list[str]
    lifts: dict[str, Lift] = {}
    tuning: TuningReport | None = None
    distillation: HeadDistillation | None = None
    cases: dict[str, CaseReport]
    loss: list[float]
    curve: list[float]
    seconds: float

    @property
    def ignored(self) -> list[str]:
        """The domains whose histories hurt, and are not looked at."""
        return harmful(self.lifts)

    def losses(self) -> list[str]:
        """Say whether the head loses to one of its own sources, beyond doubt.

        Fewer than twenty simulated users leave doubt, whatever their interval says.
        """
        own = self.cases[ALL]
        if own.high >= 0 or own.users < FEWEST_USERS:
            return []
        return [
            f"the head of {self.domain} loses to {own.best} alone (NDCG@10 {own.head:.4f} against "
            f"{own.sources[own.best]:.4f}, {own.users} simulated users)"
        ]
