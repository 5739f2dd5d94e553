"""A plan: what recipes were measured to do, which of them meet the targets, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ByteSize, ConfigDict

from isthmus.errors import ImpossibleTargets
from isthmus.index.ann.recipes import Recipe, recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.settings import Targets

MIB = 2**20
BYTES_WEIGHT = 0.25


class Measured(BaseModel):
    """What a recipe did on one sample.

    Attributes
    ----------
    rows : int
        Vectors in the sample.
    reached : bool
        Whether it reached the recall with some effort.
    parameters : SearchParameters
        That effort, or the greatest worth trying.
    recall : dict of str to float
        Smallest recall@10 over the domains, by kind of query.
    p50_ms, p99_ms : float
        A single query, in milliseconds.
    queries_s : float
        Queries a second in a batch.
    bytes_a_vector : float
        Size of the index over the vectors.
    build_s : float
        Seconds to train and fill.
    known_misses : float
        As in `SegmentVectors`, measured with contents that were held out.
    """

    model_config = ConfigDict(extra="forbid")
    rows: int
    reached: bool
    parameters: SearchParameters
    recall: dict[str, float]
    p50_ms: float
    p99_ms: float
    queries_s: float
    bytes_a_vector: float
    build_s: float
    known_misses: float = 1.0


class FullSize(BaseModel):
    """What a recipe does at the plan's number of rows.

    Attributes
    ----------
    rows : int
        Vectors.
    p50_ms, p99_ms, queries_s, bytes_a_vector, build_s : float
        As in `Measured`.
    """

    model_config = ConfigDict(extra="forbid")
    rows: int
    p50_ms: float
    p99_ms: float
    queries_s: float
    bytes_a_vector: float
    build_s: float

    @property
    def cost(self) -> float:
        """What a query costs: its time, times the fourth root of the bytes of a vector.

        So an index 16 times as large has to be twice as quick. Who has less memory says so.
        """
        return float(self.bytes_a_vector**BYTES_WEIGHT / self.queries_s)


class PlanRow(BaseModel):
    """One recipe of a plan.

    Attributes
    ----------
    recipe : str
        Its name.
    sample : Measured
        What was measured on the sample.
    expected : FullSize
        What is to be expected at full size; measured too where `built`.
    built : bool
        Whether it was built at full size.
    verdict : str
        ``chosen``, or why it lost.
    """

    model_config = ConfigDict(extra="forbid")
    recipe: str
    sample: Measured
    expected: FullSize
    built: bool = False
    verdict: str = ""


class Plan(BaseModel):
    """Every recipe measured for one named vector.

    Attributes
    ----------
    vector_name : str
        Of this named vector.
    rows : int
        For so many vectors.
    sampled : int
        Measured on so many.
    extrapolated : bool
        Whether figures for `rows` are read off a curve through two sample sizes.
    threads : int
        Threads that batches ran on; single queries run on one.
    targets : Targets
        What had to be met.
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
        return [recipe_named(row.recipe) for row in self.table if not _misses(row, self.targets)]

    def least_cost_of(self, recipe: Recipe) -> float:
        """Give what a recipe may cost at the least, for all that a sample can tell.

        The further a curve is carried the less it says: it may be off by the fourth root of how
        many times the sample the rows are (twice, for twenty times).
        """
        cost = next(row.expected.cost for row in self.table if row.recipe == recipe.name)
        return cost / float(max(self.rows / self.sampled, 1.0) ** 0.25)

    def known_misses_of(self, recipe: Recipe) -> float:
        """Give what was measured of a recipe and new contents, see `SegmentVectors`."""
        rows = (row.sample for row in self.table if row.recipe == recipe.name)
        return next((sample.known_misses for sample in rows), 1.0)

    def with_costs(self, measured: Mapping[str, FullSize], chosen: str) -> Plan:
        """Give the same plan with what recipes were measured to do at full size."""
        table = [
            row.model_copy(update={"expected": measured[row.recipe], "built": True})
            if row.recipe in measured
            else row
            for row in self.table
        ]
        return self.model_copy(update={"table": judge(table, self.targets, chosen)})


def require_possible(plan: Plan) -> None:
    """Refuse targets that no recipe meets.

    Raises
    ------
    ImpossibleTargets
        The message names the nearest that can be had.
    """
    if plan.ranked:
        return
    nearest = min(plan.table, key=lambda row: _excess(row, plan.targets))
    recall = np.floor(_recall(nearest) * 1e3) / 1e3  # figures that can be asked for as they stand
    p99, mib = np.ceil(nearest.expected.p99_ms * 1e2) / 1e2, np.ceil(_memory(nearest) / MIB)
    raise ImpossibleTargets(
        f"no recipe has {plan.targets} for {plan.rows:,} vectors named {plan.vector_name!r}; the "
        f"nearest is {nearest.recipe}: recall@10 {recall:.3f}, p99 {p99:.2f} ms, {mib:.0f} MiB. "
        "Ask for no more than that"
    )


def judge(table: Sequence[PlanRow], targets: Targets, chosen: str | None = None) -> list[PlanRow]:
    """Order rows by cost, the chosen first and those that miss a target last; say why they lost."""
    ordered = sorted(
        table,
        key=lambda row: (row.recipe != chosen, bool(_misses(row, targets)), row.expected.cost),
    )
    best = ordered[0].expected.cost
    judged = []
    for place, row in enumerate(ordered):
        ratio = row.expected.cost / best
        dearer = f"costs {ratio:,.1f} times as much"
        if ratio < 1:
            dearer = f"expected at {ratio:.1f} times, but so were others that turned out dearer"
        verdict = _misses(row, targets) or ("chosen" if place == 0 else dearer)
        judged.append(row.model_copy(update={"verdict": verdict}))
    return judged


def _misses(row: PlanRow, targets: Targets) -> str:
    """Say which target a recipe misses; empty for none."""
    had = row.expected
    if not row.sample.reached:
        return f"recall@10 is {_recall(row):.3f} at most"
    if targets.latency_ms is not None and had.p99_ms > targets.latency_ms:
        return f"p99 of {had.p99_ms:.2f} ms"
    if targets.memory is not None and _memory(row) > targets.memory:
        return f"needs {ByteSize(_memory(row)).human_readable()}"
    return ""


def _excess(row: PlanRow, targets: Targets) -> float:
    """Say by how much a recipe misses the targets, as a sum of logarithms."""
    had = row.expected
    excess = 0.0
    if not row.sample.reached:
        excess += 10 * np.log(targets.recall / max(_recall(row), 1e-3))
    if targets.latency_ms is not None:
        excess += max(0.0, np.log(had.p99_ms / targets.latency_ms))
    if targets.memory is not None:
        excess += max(0.0, np.log(_memory(row) / targets.memory))
    return float(excess)


def _recall(row: PlanRow) -> float:
    return min(row.sample.recall.values(), default=1.0)


def _memory(row: PlanRow) -> float:
    return row.expected.bytes_a_vector * row.expected.rows
