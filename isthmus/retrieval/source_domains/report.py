"""What was found out about the sources of a target domain, and how it is said."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.source_domains.lift import Lift
from isthmus.retrieval.source_domains.quality import Quality
from isthmus.retrieval.source_domains.relatedness import Relatedness

ORDER = ("helps", "undecided", "unmeasured", "hurts")


class SourceDomain(BaseModel):
    """A domain as a source for a target domain.

    Attributes
    ----------
    domain : str
        Its name.
    quality : Quality
        How much there is to learn from it.
    relatedness : Relatedness
        How near it is to the target.
    lift : Lift or None
        What its histories are worth to cold users of the target; None where that was not asked.
    """

    model_config = ConfigDict(extra="forbid")
    domain: str
    quality: Quality
    relatedness: Relatedness
    lift: Lift | None

    def rank(self) -> tuple[int, float, float]:
        """Give what sources are sorted by: verdict, then gain, then nearness of contents."""
        verdict = "unmeasured" if self.lift is None else self.lift.verdict
        gain = 0.0 if self.lift is None or self.lift.ndcg is None else self.lift.ndcg.difference
        far = self.relatedness.content_distance
        return ORDER.index(verdict), -gain, 1.0 if far is None else far


class SourceReport(BaseModel):
    """The sources of a target domain, best first.

    Attributes
    ----------
    target : str
        The domain to recommend in.
    quality : Quality
        How much there is to learn from the target itself.
    sources : list of SourceDomain
        Those that help, by their gain in NDCG@10; those of which that is not certain; those that
        could not be measured, the nearest in content first; those that hurt.
    seconds : float
        How long it took.
    """

    model_config = ConfigDict(extra="forbid")
    target: str
    quality: Quality
    sources: list[SourceDomain]
    seconds: float


def describe_lift(domain: str, lift: Lift) -> str:
    """Say in words what was measured of a source domain, and what follows.

    Examples
    --------
    >>> describe_lift("music", Lift(users=3, verdict="unmeasured"))
    'music cannot be measured (3 simulated cold users know it, 20 are needed); it is kept'
    """
    if lift.ndcg is None:
        return (
            f"{domain} cannot be measured ({lift.users:,} simulated cold users know it, 20 are "
            "needed); it is kept"
        )
    own = lift.ndcg
    figures = (
        f"NDCG@10 of {lift.users:,} cold users is {own.shown:.4f} with its history and "
        f"{own.hidden:.4f} without, {own.difference:+.4f} ({own.low:+.4f} to {own.high:+.4f})"
    )
    follows = {
        "helps": f"{domain} helps: {figures}",
        "hurts": f"{domain} hurts, so training switches it off: {figures}",
    }
    return follows.get(lift.verdict, f"{domain} is undecided and kept: {figures}")
