"""The planner: measures every recipe on a sample, and picks the cheapest that meets the targets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ByteSize, ConfigDict

from isthmus.errors import ImpossibleTargets
from isthmus.index.block_index import SegmentBlock
from isthmus.index.exact import Mask
from isthmus.index.faiss_index import VectorIndex
from isthmus.index.gpu import Devices, placing
from isthmus.index.recall import QueriesOf, RecallRow, Trial, make_trials, measure_recall
from isthmus.index.recipe import Effort, Family, Recipe, recipe_named, suitable
from isthmus.index.segment import join_segments
from isthmus.index.settings import Targets
from isthmus.index.shared import Shared
from isthmus.index.tune import batch_seconds, single_ms, tune_effort, with_index
from isthmus.index.view import View
from isthmus.progress import progress_bar

SMALLER = 4  # the second point of each curve is measured on a quarter of the sample
LATENCY_QUERIES = 300
PLANNED_QUERIES = 1_200  # recipes are only compared, by many searches that are slow
STEEPEST = 1.3
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
    effort : Effort
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
    """

    model_config = ConfigDict(extra="forbid")
    rows: int
    reached: bool
    effort: Effort
    recall: dict[str, float]
    p50_ms: float
    p99_ms: float
    queries_s: float
    bytes_a_vector: float
    build_s: float


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
    """Every recipe measured for one block.

    Attributes
    ----------
    block : str
        Of this block.
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
    block: str
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

    def with_costs(self, measured: Mapping[str, FullSize], chosen: str) -> Plan:
        """Give the same plan with what recipes were measured to do at full size."""
        table = [
            row.model_copy(update={"expected": measured[row.recipe], "built": True})
            if row.recipe in measured
            else row
            for row in self.table
        ]
        return self.model_copy(update={"table": _judged(table, self.targets, chosen)})


@dataclass(frozen=True, eq=False)
class Sample:
    """A view to measure on, queries, and what recipes share over its vectors."""

    view: View
    trials: Sequence[Trial]
    shared: Shared = field(default_factory=Shared)


def make_plan(
    view: View,
    block: str,
    queries_of: QueriesOf,
    targets: Targets,
    rows: int,
    *,
    devices: Devices = (),
    progress: bool = False,
) -> Plan:
    """Measure every recipe on a view that holds a sample, for a number of rows.

    Parameters
    ----------
    view : View
        One segment: the sample.
    block : str
        The block to plan.
    queries_of : callable
        Kinds of query, see `make_trials`.
    targets : Targets
        Recall, latency, memory.
    rows : int
        How many vectors the index will hold.
    devices : tuple of int
        GPUs that hold the index; only recipes that have a GPU form are considered then.
    progress : bool, default False
        Whether to show a bar.
    """
    import faiss

    samples = [_sample(view, block, queries_of)]
    own = view.segments[0].blocks[block]
    if rows > len(own.rows):
        samples.insert(0, _sample(_smaller(view), block, queries_of))
    recipes = list(suitable(own.vectors.shape[1], on_gpu=bool(devices)))
    table = []
    with progress_bar(f"planning {block}", len(recipes), show=progress) as advance:
        for recipe in recipes:
            curve = [
                _measure(sample, block, recipe, targets.recall, placing(devices))
                for sample in samples
            ]
            expected = _expected(recipe, curve, rows)
            table.append(PlanRow(recipe=recipe.name, sample=curve[-1], expected=expected))
            advance(1)
    return Plan(
        block=block,
        rows=rows,
        sampled=len(own.rows),
        extrapolated=rows > len(own.rows),
        threads=int(faiss.omp_get_max_threads()),
        targets=targets,
        table=_judged(table, targets),
    )


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
        f"no recipe has {plan.targets} for {plan.rows:,} vectors of block {plan.block!r}; the "
        f"nearest is {nearest.recipe}: recall@10 {recall:.3f}, p99 {p99:.2f} ms, {mib:.0f} MiB. "
        "Ask for no more than that"
    )


def _sample(view: View, block: str, queries_of: QueriesOf) -> Sample:
    return Sample(view, make_trials(view, block, queries_of, queries=PLANNED_QUERIES))


def sampled_view(view: View, kept: Mask) -> View:
    """Give a view of some rows of the first segment alone."""
    sampled = join_segments([view.segments[0]], [kept])
    return replace(view, segments=(sampled,), alive=(sampled.all_rows(),))


def _smaller(view: View) -> View:
    rows = len(view.segments[0])
    return sampled_view(view, np.random.default_rng(1).random(rows) < 1 / SMALLER)


def _measure(
    sample: Sample,
    block: str,
    recipe: Recipe,
    target: float,
    place: Callable[[VectorIndex], VectorIndex],
) -> Measured:
    own: SegmentBlock = sample.view.segments[0].blocks[block]
    start = time.perf_counter() - sample.shared.seconds(recipe.family)
    index = place(VectorIndex.build(recipe, own.vectors, shared=sample.shared))
    build_s = time.perf_counter() - start
    view = with_index(sample.view, block, index)
    effort = tune_effort(view, block, sample.trials, target)
    greatest = Effort(visits=index.most_visits, depth=recipe.depths()[-1])
    index = index.trying(effort or greatest)
    plain = [trial for trial in sample.trials if trial.allowed is None]
    queries = np.concatenate([trial.kind.vectors for trial in plain or sample.trials])
    single = np.random.default_rng(2).permutation(queries)[:LATENCY_QUERIES]
    median, high = single_ms(index, single)
    return Measured(
        rows=len(own.rows),
        reached=effort is not None,
        effort=index.effort,
        recall=_by_kind(measure_recall(with_index(view, block, index), plain)),
        p50_ms=round(median, 4),
        p99_ms=round(high, 4),
        queries_s=round(len(queries) / batch_seconds(index, queries), 1),
        bytes_a_vector=round(index.bytes_a_vector, 1),
        build_s=round(build_s, 4),
    )


def _by_kind(rows: Sequence[RecallRow]) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for row in rows:
        kinds[row.kind] = min(row.recall, kinds.get(row.kind, 1.0))
    return kinds


def _expected(recipe: Recipe, curve: Sequence[Measured], rows: int) -> FullSize:
    """Carry the curve through the last two points to a number of rows.

    A straight line where every vector is compared; one over the logarithm of the rows in a graph,
    whose searches lengthen so (Malkov and Yashunin, arXiv:1603.09320); else one on logarithmic
    axes. Building takes no less than the rows grow by.
    """
    first, last = curve[0], curve[-1]

    def at(before: float, now: float, family: Family = recipe.family, least: float = 0) -> float:
        if len(curve) == 1:
            return now
        steps = np.log(last.rows / first.rows)
        if family == "flat":
            slope = max(now - before, 0.0) / (last.rows - first.rows)
            return float(now + slope * (rows - last.rows))
        if family == "hnsw":
            return float(now + max(now - before, 0.0) / steps * np.log(rows / last.rows))
        slope = np.clip(np.log(max(now, 1e-9) / max(before, 1e-9)) / steps, least, STEEPEST)
        return float(now * (rows / last.rows) ** slope)

    return FullSize(
        rows=rows,
        p50_ms=at(first.p50_ms, last.p50_ms),
        p99_ms=at(first.p99_ms, last.p99_ms),
        queries_s=1 / at(1 / first.queries_s, 1 / last.queries_s),
        bytes_a_vector=last.bytes_a_vector,
        build_s=at(first.build_s, last.build_s, "ivf", 1),
    )


def _judged(table: Sequence[PlanRow], targets: Targets, chosen: str | None = None) -> list[PlanRow]:
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
