"""A plan: the measured costs of every recipe, which of them meet the targets, and which is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ByteSize, ConfigDict

from isthmus.errors import ImpossibleTargets
from isthmus.index.ann.contract import Recipe
from isthmus.index.ann.recipes import recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.settings import Preference, Targets

MIB = 2**20
MEMORY_EXPONENT = 0.25  # of the bytes in the cost of a query
MAX_SLOWDOWN = 4.0  # beside the fastest, of what is preferred for its memory or its build
ERROR_EXPONENT = 0.25  # of the extrapolation, in the error of its costs


class SampleCosts(BaseModel):
    """What a recipe was measured to do on a sample.

    Attributes
    ----------
    rows : int
        Vectors in the sample.
    reaches_recall : bool
        Whether some search parameters reach the recall target.
    parameters : SearchParameters
        The fastest that do, or else the greatest worth trying.
    recall : dict of str to float
        Smallest recall@10 over the domains, by kind of query.
    p50_ms, p99_ms : float
        Latency of a single query, in milliseconds.
    queries_per_s : float
        Throughput of a batch.
    bytes_per_vector : float
        Size of the index over the vectors.
    build_s : float
        Seconds to train and fill.
    indexed_miss_ratio : float
        As in `SegmentVectors`, measured with items that were held out.
    """

    model_config = ConfigDict(extra="forbid")
    rows: int
    reaches_recall: bool
    parameters: SearchParameters
    recall: dict[str, float]
    p50_ms: float
    p99_ms: float
    queries_per_s: float
    bytes_per_vector: float
    build_s: float
    indexed_miss_ratio: float = 1.0


class FullSizeCosts(BaseModel):
    """What a recipe costs at the number of rows of the plan.

    Attributes
    ----------
    rows : int
        Vectors.
    p50_ms, p99_ms, queries_per_s, bytes_per_vector, build_s : float
        As in `SampleCosts`.
    """

    model_config = ConfigDict(extra="forbid")
    rows: int
    p50_ms: float
    p99_ms: float
    queries_per_s: float
    bytes_per_vector: float
    build_s: float

    @property
    def query_cost(self) -> float:
        """The cost of a query: its time, times the fourth root of the bytes per vector.

        An index 16 times as large has to be twice as fast. A memory target overrides this.
        """
        return float(self.bytes_per_vector**MEMORY_EXPONENT / self.queries_per_s)

    def rank(self, prefer: Preference, fastest: float) -> tuple[bool, float]:
        """Return what recipes are ordered by, the best first.

        Parameters
        ----------
        prefer : str
            What is preferred, see `Targets`.
        fastest : float
            Queries per second of the fastest recipe that meets the targets.
        """
        if prefer == "speed":
            return False, self.query_cost
        preferred = self.bytes_per_vector if prefer == "memory" else self.build_s
        return self.queries_per_s * MAX_SLOWDOWN < fastest, preferred


class PlanRow(BaseModel):
    """One recipe of a plan.

    Attributes
    ----------
    recipe : str
        Its name.
    sample : SampleCosts
        What was measured on the sample.
    expected : FullSizeCosts
        Extrapolated to full size; measured there if `built`.
    built : bool
        Whether it was built at full size.
    verdict : str
        ``chosen``, or why it was not.
    """

    model_config = ConfigDict(extra="forbid")
    recipe: str
    sample: SampleCosts
    expected: FullSizeCosts
    built: bool = False
    verdict: str = ""

    def misses(self, targets: Targets) -> str:
        """Return which target the recipe misses, in words; empty for none."""
        costs = self.expected
        if not self.sample.reaches_recall:
            return f"recall@10 is {_recall(self):.3f} at most"
        if targets.latency_ms is not None and costs.p99_ms > targets.latency_ms:
            return f"p99 of {costs.p99_ms:.2f} ms"
        if targets.memory is not None and _memory(self) > targets.memory:
            return f"needs {ByteSize(_memory(self)).human_readable()}"
        return ""


class Plan(BaseModel):
    """Every recipe, measured for one named vector.

    Attributes
    ----------
    vector_name : str
        The named vector.
    rows : int
        Vectors that it is for.
    sampled : int
        Vectors that it was measured on.
    extrapolated : bool
        Whether figures for `rows` are extrapolated from two sample sizes.
    threads : int
        Threads of a batch; single queries run on one.
    targets : Targets
        What has to be met.
    table : list of PlanRow
        Cheapest first.
    """

    model_config = ConfigDict(extra="forbid")
    vector_name: str
    rows: int
    sampled: int
    extrapolated: bool
    threads: int
    targets: Targets
    table: list[PlanRow]

    @property
    def ranked(self) -> list[Recipe]:
        """The recipes that meet the targets, cheapest first."""
        return [recipe_named(row.recipe) for row in self.table if not row.misses(self.targets)]

    def min_query_cost(self, recipe: Recipe) -> float:
        """Return the least that a query of a recipe may cost, given the error of extrapolation.

        The further a curve is extrapolated, the greater the error: it may be off by the fourth
        root of how many times the sample the rows are (twice, for sixteen times).
        """
        cost = next(row.expected.query_cost for row in self.table if row.recipe == recipe.name)
        return cost / float(max(self.rows / self.sampled, 1.0) ** ERROR_EXPONENT)

    def indexed_miss_ratio(self, recipe: Recipe) -> float:
        """Return the measured ratio of a recipe, see `SegmentVectors`."""
        samples = (row.sample for row in self.table if row.recipe == recipe.name)
        return next((sample.indexed_miss_ratio for sample in samples), 1.0)

    def with_costs(self, measured: Mapping[str, FullSizeCosts], chosen: str) -> Plan:
        """Return the plan with costs of recipes that were measured at full size."""
        table = [
            row.model_copy(update={"expected": measured[row.recipe], "built": True})
            if row.recipe in measured
            else row
            for row in self.table
        ]
        return self.model_copy(update={"table": judge(table, self.targets, chosen)})


def require_possible(plan: Plan) -> None:
    """Raise if no recipe meets the targets.

    Raises
    ------
    ImpossibleTargets
        The message names the nearest possible targets.
    """
    if plan.ranked:
        return
    nearest = min(plan.table, key=lambda row: _excess(row, plan.targets))
    # Rounded so that the targets in the message can be met as they stand.
    recall = np.floor(_recall(nearest) * 1e3) / 1e3
    p99, mib = np.ceil(nearest.expected.p99_ms * 1e2) / 1e2, np.ceil(_memory(nearest) / MIB)
    raise ImpossibleTargets(
        f"no recipe has {plan.targets} for {plan.rows:,} vectors named {plan.vector_name!r}; the "
        f"nearest is {nearest.recipe}: recall@10 {recall:.3f}, p99 {p99:.2f} ms, {mib:.0f} MiB. "
        "Ask for no more than that"
    )


def judge(table: Sequence[PlanRow], targets: Targets, chosen: str | None = None) -> list[PlanRow]:
    """Return rows with verdicts: the chosen first, by cost, and those that miss a target last."""
    possible = [row.expected.queries_per_s for row in table if not row.misses(targets)]
    fastest = max(possible, default=0.0)

    def key(row: PlanRow) -> tuple[bool, bool, tuple[bool, float]]:
        rank = row.expected.rank(targets.prefer, fastest)
        return row.recipe != chosen, bool(row.misses(targets)), rank

    ordered = sorted(table, key=key)
    best = ordered[0].expected
    return [
        row.model_copy(
            update={
                "verdict": row.misses(targets)
                or ("chosen" if position == 0 else _why_not(row.expected, best, targets, fastest))
            }
        )
        for position, row in enumerate(ordered)
    ]


def _why_not(costs: FullSizeCosts, best: FullSizeCosts, targets: Targets, fastest: float) -> str:
    """Return in words why a recipe that meets the targets was not chosen."""
    if targets.prefer == "speed":
        ratio = costs.query_cost / best.query_cost
        if ratio < 1:
            return f"expected at {ratio:.1f} times, but so were others that turned out dearer"
        return f"costs {ratio:,.1f} times as much"
    if costs.rank(targets.prefer, fastest)[0]:
        return f"takes {fastest / costs.queries_per_s:,.1f} times as long as the fastest"
    if targets.prefer == "memory":
        return f"takes {costs.bytes_per_vector / best.bytes_per_vector:,.1f} times the bytes"
    return f"is built in {costs.build_s:,.1f} s, the chosen in {best.build_s:,.1f} s"


def _excess(row: PlanRow, targets: Targets) -> float:
    """Return by how much a recipe misses the targets, as a sum of logarithms."""
    excess = 0.0
    if not row.sample.reaches_recall:
        excess += 10 * np.log(targets.recall / max(_recall(row), 1e-3))  # recall weighs most
    if targets.latency_ms is not None:
        excess += max(0.0, np.log(row.expected.p99_ms / targets.latency_ms))
    if targets.memory is not None:
        excess += max(0.0, np.log(_memory(row) / targets.memory))
    return float(excess)


def _recall(row: PlanRow) -> float:
    return min(row.sample.recall.values(), default=1.0)


def _memory(row: PlanRow) -> float:
    return row.expected.bytes_per_vector * row.expected.rows
