"""An evaluation as tables for the terminal."""

from __future__ import annotations

from isthmus.evaluation.logged import AbEvaluation, LogEvaluation, describe_log
from isthmus.evaluation.report import ComparisonResult, Evaluation, MetricValue, TaskResult
from isthmus.terminal import DataTable, print_table, say

SIGNIFICANCE = 0.05


def show_evaluation(evaluation: Evaluation) -> None:
    """Print a table for each task: its systems, with intervals and ratios to the best baseline."""
    for task in evaluation.tasks:
        metric = "rmse" if task.kind == "rating" else evaluation.settings.metric
        print_table(_table(task, metric, evaluation.settings.found_k))
        for ablation in task.ablations:
            difference = f"{ablation.metric} differs by {format_value(ablation.difference)}"
            say(
                f"{ablation.system} is {format_ratio(ablation)} of {ablation.reference}; "
                f"{difference}, p = {ablation.adjusted_p:.3g}"
            )
        for system in task.systems:
            if system.error is not None:
                say(f"{system.name} failed: {system.error}")
    for skipped in evaluation.skipped:
        say(f"{skipped.name} skipped: {skipped.reason}")
    if any(task.comparisons for task in evaluation.tasks):
        settings = evaluation.settings
        say(
            f"over (b) is the ratio to the best baseline; * p < {SIGNIFICANCE} ({settings.test}, "
            f"{settings.correction}); intervals are 95 %, {settings.resamples:,} resamples of the "
            "users"
        )


def show_log(found: LogEvaluation) -> None:
    """Print what a policy would have earned, by each estimator."""
    table = DataTable("successes a place", "estimate [95 %]")
    for name, value in describe_log(found):
        table.add_row(name, format_value(value))
    print_table(table)
    say(
        f"{found.lists:,} lists of {found.users:,} users, {found.places:,} places, "
        f"{found.rewards:,} successes; {found.matched:.0%} of the places match, worth "
        f"{found.effective_size:,.0f}; {found.skipped:,} lists left out"
    )


def show_ab(found: AbEvaluation) -> None:
    """Print the arms of an experiment, and how they differ from the control."""
    table = DataTable("arm", "users", "lists", "places", "successes", "a place [95 %]")
    for arm in found.arms:
        counts = (arm.users, arm.lists, arm.places, arm.rewards)
        table.add_row(arm.arm, *(f"{count:,}" for count in counts), format_value(arm.rate))
    print_table(table)
    for one in found.comparisons:
        interval = "too little data for an interval"
        if one.low is not None and one.high is not None:
            interval = f"[{one.low:.4f}, {one.high:.4f}] at all {found.days} days together"
        say(
            f"{one.arm} less {one.control}: {one.difference:+.4f}, {interval}; p = "
            f"{one.p_value:.3g}, valid whenever one looks"
        )


def format_ratio(comparison: ComparisonResult | None) -> str:
    """Return the ratio with its interval, starred where the difference is significant."""
    if comparison is None or comparison.ratio is None:
        return "-"
    star = " *" if comparison.adjusted_p < SIGNIFICANCE else ""
    ratio = comparison.ratio
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]{star}"


def format_value(estimate: MetricValue | None, digits: int = 4) -> str:
    """Return the value of a metric with its interval.

    Examples
    --------
    >>> format_value(MetricValue(value=0.06, low=0.05, high=0.07), 2)
    '0.06 [0.05, 0.07]'
    """
    if estimate is None:
        return "-"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _table(task: TaskResult, metric: str, k: int) -> DataTable:
    title = (
        f"{task.name} ({task.split}): {task.users:,} users, {task.truth:,} hidden items, "
        f"{task.candidates:,} candidates"
    )
    table = DataTable(title=title)
    others = _other_metrics(task, metric)
    properties = [f"{name}@{k}" for name in ("coverage", "novelty", "tail")]
    shown_properties = properties if any(system.lists for system in task.systems) else []
    heads = ("system", metric, "over (b)", *others, *shown_properties, "seconds")
    for head in heads:
        table.add_column(head, justify="left" if head == "system" else "right")
    comparisons = {c.system: c for c in task.comparisons}
    for system in task.systems:
        name = system.name + (" (b)" if system.name == task.best_baseline else "")
        if system.error is not None:
            continue
        table.add_row(
            name,
            format_value(system.metrics[metric]),
            format_ratio(comparisons.get(system.name)),
            *(f"{system.metrics[other].value:.4f}" for other in others),
            *(_format_property(system.lists.get(name)) for name in shown_properties),
            f"{system.seconds:,.1f}",
        )
    return table


def _other_metrics(task: TaskResult, metric: str) -> list[str]:
    """Return the metrics that are shown beside the first: recalls, mean reciprocal rank."""
    names = next((list(s.metrics) for s in task.systems if s.error is None), [])
    shown = [n for n in names if n.startswith("recall@")]
    shown += [n for n in ("hit_rate@10", "mrr", "mae") if n in names]
    return [name for name in shown if name != metric]


def _format_property(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
