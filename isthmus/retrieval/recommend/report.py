"""Reports of the training of rankers, stored beside the rankers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.source_domains.lift import Lift, harmful

ALL = "all"
MIN_USERS = 20


class Trial(BaseModel):
    """Hyperparameters that were tried.

    Attributes
    ----------
    settings : dict
        The hyperparameters by name.
    score : float
        The best NDCG@10 of the validation users, mean over the scenarios.
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


class ScenarioReport(BaseModel):
    """NDCG@10 of the validation users in one scenario.

    Attributes
    ----------
    users : int
        Number of simulated users.
    ranker : float
        NDCG@10 of the ranker.
    generators : dict of str to float
        NDCG@10 of the list of each candidate generator alone.
    best : str
        The best generator.
    low, high : float
        95 % interval of the gain of the ranker over it: a paired bootstrap, corrected for as many
        comparisons as there are generators.
    coverage : dict of str to float
        Share of the relevant items that a generator proposed, and all together (``"union"``).
    """

    model_config = ConfigDict(extra="forbid")
    users: int
    ranker: float
    generators: dict[str, float]
    best: str
    low: float
    high: float
    coverage: dict[str, float]


class RankerFigures(BaseModel):
    """Quality and cost of a ranker.

    Attributes
    ----------
    ndcg, recall : float
        NDCG@10 and recall@200 of the validation users.
    parameters : int
        Number of parameters.
    milliseconds : float
        Median time to score the candidates of one user, without the features.
    """

    model_config = ConfigDict(extra="forbid")
    ndcg: float
    recall: float
    parameters: int
    milliseconds: float


class RankerDistillation(BaseModel):
    """A distilled ranker beside its teacher, on users that neither was trained on.

    Attributes
    ----------
    teacher, student : RankerFigures
        Both rankers.
    low, high : float
        95 % interval of the NDCG@10 of the student minus that of the teacher, by a bootstrap over
        users.
    users : int
        Number of validation examples.
    """

    model_config = ConfigDict(extra="forbid")
    teacher: RankerFigures
    student: RankerFigures
    low: float
    high: float
    users: int

    @property
    def speed_ratio(self) -> float:
        """Time of the teacher over that of the student."""
        return self.teacher.milliseconds / self.student.milliseconds

    @property
    def size_ratio(self) -> float:
        """Parameters of the teacher over those of the student."""
        return self.teacher.parameters / self.student.parameters


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
        case `scenarios` describe the distilled one, `loss` and `curve` its teacher.
    scenarios : dict of str to ScenarioReport
        By how much was shown of the users, see `Episodes`, and all of them together (``"all"``).
    loss : list of float
        Mean training loss of each epoch.
    curve : list of float
        NDCG@10 of the validation users, mean over the scenarios, before training and after each
        epoch.
    seconds : float
        Duration, with the making of candidates.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    pretrained_on: list[str]
    lifts: dict[str, Lift] = {}
    tuning: TuningReport | None = None
    distillation: RankerDistillation | None = None
    scenarios: dict[str, ScenarioReport]
    loss: list[float]
    curve: list[float]
    seconds: float

    @property
    def ignored(self) -> list[str]:
        """The domains whose histories hurt, and which are ignored."""
        return harmful(self.lifts)

    def shortfalls(self) -> list[str]:
        """Return a message if the ranker is significantly worse than one of its generators.

        With fewer than 20 simulated users nothing is significant, whatever the interval says.
        """
        whole = self.scenarios[ALL]
        if whole.high >= 0 or whole.users < MIN_USERS:
            return []
        return [
            f"the ranker of {self.domain} loses to {whole.best} alone (NDCG@10 "
            f"{whole.ranker:.4f} against {whole.generators[whole.best]:.4f}, {whole.users} "
            "simulated users)"
        ]
