"""What the distillation of a ranker came to."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
