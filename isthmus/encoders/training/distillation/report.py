"""What a distillation came to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.encoders.training.distillation.quality import Quality
from isthmus.encoders.training.distillation.recommendation import Recommendation

REPORT: Final = "distillation.json"


@dataclass(frozen=True)
class Speed:
    """Contents a second of both, on the same contents, in one run.

    Attributes
    ----------
    contents : int
        How many were timed.
    threads : int
        Of PyTorch.
    device : str
        Where both ran.
    teacher, student : float
        Contents a second, the median of three runs.
    """

    contents: int
    threads: int
    device: str
    teacher: float
    student: float

    @property
    def ratio(self) -> float:
        """How many times as fast the student is."""
        return self.student / self.teacher


@dataclass(frozen=True)
class DistillReport:
    """What a distillation came to.

    Attributes
    ----------
    teacher, student : str
        Specs; the student's opens what was saved.
    teacher_fingerprint, student_fingerprint : str
        Of the two encoders.
    modality : {"text", "image"}
        What was distilled.
    rows_read, distinct, trained : int
        Contents given, different ones among them, and those that were learned from.
    problems : tuple of (int, str)
        Rows that could not be used, and why.
    losses : list of float
        Mean loss of each pass.
    speed : Speed
        Contents a second.
    teacher_bytes : int or None
        Size of the teacher's weights, where it tells.
    student_bytes : int
        Size of the files that were saved.
    quality : Quality
        On contents held out.
    recommendation : Recommendation or None
        Of contents held out, where it was told what users like.
    settings : dict
        As they were given.
    seconds : float
        All that it took, this time.
    """

    teacher: str
    student: str
    teacher_fingerprint: str
    student_fingerprint: str
    modality: str
    rows_read: int
    distinct: int
    trained: int
    problems: tuple[tuple[int, str], ...]
    losses: list[float]
    speed: Speed
    teacher_bytes: int | None
    student_bytes: int
    quality: Quality
    recommendation: Recommendation | None
    settings: dict[str, Any]
    seconds: float

    @property
    def size_ratio(self) -> float | None:
        """How many times as small the student is."""
        return self.teacher_bytes / self.student_bytes if self.teacher_bytes else None

    def as_dict(self) -> dict[str, Any]:
        """Give everything by name, ready for JSON."""
        return {
            **asdict(self),
            "speed": {**asdict(self.speed), "ratio": self.speed.ratio},
            "quality": self.quality.as_dict(),
            "recommendation": self.recommendation and self.recommendation.as_dict(),
            "size_ratio": self.size_ratio,
        }

    def save(self, folder: Path) -> None:
        """Write the report beside the model."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        (folder / REPORT).write_text(text + "\n", "utf-8")
