"""What an evaluation is to be: its protocols, baselines, metrics and seeds, in one object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.tuning import default_grids, rating_grids

PROTOCOLS = ("cold", "few1", "few3", "few5", "warm", "cold_item", "rating", "temporal")
FEW = re.compile(r"few([1-9]\d*)")


@dataclass(frozen=True)
class EvaluationPlan:
    """The settings of an evaluation.

    Attributes
    ----------
    targets : sequence of str
        Domains to recommend in, one after the other; all that have interactions where none is
        named.
    protocols : sequence of str, optional
        What to hide of the interactions: ``"cold"`` (all that some users did in the target),
        ``"few1"``, ``"few3"``, ``"few5"`` (all but so many), ``"warm"`` (a fifth),
        ``"cold_item"`` (all of some items), ``"rating"`` (some values, to be predicted),
        ``"temporal"`` (all after a moment). See `isthmus.evaluation.protocols`. By
        default all of them, or none where folders are given.
    folders : sequence of path
        Protocols that are ready, as `read_protocol` reads them.
    baselines : sequence of str, optional
        Which baselines; by default all (see `BASELINES`).
    systems : sequence of str, optional
        Which of the space's own ways to answer; by default all (see `isthmus.Space.evaluate`).
    positive_from : float, optional
        The least value that is positive; ranking protocols look at positives alone. By default,
        where all values are equal, every interaction is, and else those of 0.8 of the largest
        value or more (of star ratings up to 5: 4 and more). Ratings are of all values.
    quick : bool
        Whether to take the first settings of every baseline's grid, and not to tune.
    least_users : int
        Tasks with fewer users to recommend to are skipped.
    seed : int
        Of what is hidden, of baselines, and of resamples.
    metric, ks, n, resamples
        As for `isthmus.evaluation.evaluate.evaluate`; the metric is what settings are
        chosen by, too.

    Raises
    ------
    InvalidInput
        If a protocol or a baseline is unknown, something is named twice, or there are targets
        for folders alone.

    Examples
    --------
    >>> EvaluationPlan(protocols=["cold", "few2"]).asked_protocols
    ('cold', 'few2')
    """

    targets: Sequence[str] = ()
    protocols: Sequence[str] | None = None
    folders: Sequence[str | Path] = ()
    baselines: Sequence[str] | None = None
    systems: Sequence[str] | None = None
    positive_from: float | None = None
    quick: bool = False
    least_users: int = 10
    seed: int = 0
    metric: str = "ndcg@10"
    ks: Sequence[int] = (10, 20, 200)
    n: int = 200
    resamples: int = 2_000

    def __post_init__(self) -> None:
        for name in self.asked_protocols:
            if name not in PROTOCOLS and not FEW.fullmatch(name):
                raise InvalidInput(
                    f"no protocol {name!r}; there are {', '.join(PROTOCOLS)} (few with any number)"
                )
        for name in self.asked_baselines:
            if name not in BASELINES:
                raise InvalidInput(f"no baseline {name!r}; there are {', '.join(BASELINES)}")
        if self.targets and not self.asked_protocols:
            raise InvalidInput(
                "a target goes with protocols; a folder has its own: leave targets (--target) out, "
                "or name protocols (--protocols) too"
            )
        for names in (self.asked_protocols, self.asked_baselines, tuple(self.targets)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InvalidInput(f"{twice[0]!r} is named twice; name it once")

    @property
    def asked_protocols(self) -> tuple[str, ...]:
        """The protocols that are made of interactions."""
        if self.protocols is None:
            return () if self.folders else PROTOCOLS
        return tuple(self.protocols)

    @property
    def asked_baselines(self) -> tuple[str, ...]:
        """The baselines, of lists and of values."""
        return BASELINES if self.baselines is None else tuple(self.baselines)


BASELINES = (*default_grids(content=True), *rating_grids())
