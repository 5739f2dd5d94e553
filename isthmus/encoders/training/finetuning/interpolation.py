"""How much of a change is taken: the most that the target gains and no other domain loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.training.finetuning.quality import TARGET, Exam, Mark

SHARES: Final = (1.0, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class ShareTried:
    """What a share of the change is worth on the contents for choosing.

    Attributes
    ----------
    share : float
        How much of the change: 0 is the encoder as it was, 1 as training left it.
    target : float
        Quality in the target.
    kept : dict of str to float
        For each other domain, its quality over that of before.
    """

    share: float
    target: float
    kept: dict[str, float]

    def forgets(self, allowed: float) -> bool:
        """Tell whether some other domain loses more than is allowed."""
        return any(kept < 1 - allowed for kept in self.kept.values())


def try_shares(
    exam: Exam,
    before: Encoder,
    changed: Callable[[float], Encoder],
    shares: Sequence[float] = SHARES,
) -> list[ShareTried]:
    """Ask the encoder as it was, and with each share of the change.

    Parameters
    ----------
    exam : Exam
        What to ask.
    before : Encoder
        As it was.
    changed : callable
        Gives the encoder with a share of the change.
    shares : sequence of float
        Which ones.
    """
    start = exam.start_from(before)
    tried = [_tried(0.0, start, start)]
    return tried + [_tried(share, exam.ask(changed(share)), start) for share in shares]


def choose_share(tried: Sequence[ShareTried], allowed: float) -> ShareTried:
    """Give what is best in the target among what loses no more than is allowed elsewhere.

    Examples
    --------
    >>> tried = [ShareTried(share, share, {"books": 1 - share / 10}) for share in (0, 0.5, 1)]
    >>> choose_share(tried, 0.06).share
    0.5
    """
    return max(
        (one for one in tried if not one.forgets(allowed)),
        key=lambda one: (one.target, -one.share),
    )


def _tried(share: float, marks: Mapping[str, Mark], start: Mapping[str, Mark]) -> ShareTried:
    means = {name: float(mark.quality.mean()) for name, mark in marks.items()}
    kept = {
        name: mean / max(float(start[name].quality.mean()), 1e-12)
        for name, mean in means.items()
        if name != TARGET
    }
    return ShareTried(share, means[TARGET], kept)
