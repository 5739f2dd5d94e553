"""The report as one self-contained HTML page, plots included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from isthmus.errors import InvalidInput
from isthmus.evaluation.buckets import (
    HISTORY_LENGTH,
    SOURCE_EVIDENCE,
    TARGET_EVIDENCE,
    TRUTH_DOMAIN,
    TRUTH_MODALITIES,
    TRUTH_POPULARITY,
    USER_ATTRIBUTE,
)
from isthmus.evaluation.lists import GROUPS
from isthmus.evaluation.plots import (
    draw_buckets,
    draw_coverage,
    draw_exposure,
    draw_losses,
    draw_scatter,
    draw_summary,
)
from isthmus.evaluation.report import Evaluation, TaskResult
from isthmus.evaluation.terminal import SIGNIFICANCE, format_ratio, format_value

TEMPLATE: Final = "report.html.j2"
BUCKETS: Final = (
    (TARGET_EVIDENCE, "By what is known of a user in the target domain"),
    (SOURCE_EVIDENCE, "By what is known of a user in other domains"),
    (HISTORY_LENGTH, "By length of the history"),
    (TRUTH_DOMAIN, "By domain of the hidden items"),
    (TRUTH_POPULARITY, "By popularity of the hidden items"),
    (TRUTH_MODALITIES, "By modalities of the hidden items"),
)

OF_USERS: Final = (TARGET_EVIDENCE, SOURCE_EVIDENCE, HISTORY_LENGTH)


def write_html(evaluation: Evaluation, path: str | Path, title: str = "Evaluation") -> None:
    """Write the report as an HTML page.

    Raises
    ------
    InvalidInput
        If the file cannot be written.
    MissingDependency
        If matplotlib is not installed.
    """
    page = render_html(evaluation, title)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error}") from error


def render_html(evaluation: Evaluation, title: str = "Evaluation") -> str:
    """Return the report as an HTML page.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    environment = Environment(
        loader=PackageLoader("isthmus.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    settings = {"settings": evaluation.settings.model_dump(), "versions": evaluation.versions}
    return environment.get_template(TEMPLATE).render(
        title=title,
        evaluation=evaluation,
        significance=SIGNIFICANCE,
        tasks=[_task(evaluation, task) for task in evaluation.tasks],
        skipped=[(task.name, task.reason) for task in evaluation.skipped],
        settings_json=json.dumps(settings, indent=1, ensure_ascii=False, default=str),
    )


@dataclass(frozen=True)
class _Plot:
    """A plot, its caption, and the values that a screen reader reads."""

    svg: str
    caption: str
    values: str


@dataclass(frozen=True)
class _Failure:
    """A row of a system without results."""

    name: str
    error: str


@dataclass(frozen=True)
class _Table:
    heads: tuple[str, ...]
    rows: list[tuple[str, ...] | _Failure]


@dataclass(frozen=True)
class _Part:
    heading: str
    contents: list[_Plot | _Table]


@dataclass(frozen=True)
class _Section:
    """What the template shows of a task."""

    title: str
    description: str
    parts: list[_Part]


def _task(evaluation: Evaluation, task: TaskResult) -> _Section:
    metric = "rmse" if task.kind == "rating" else evaluation.settings.metric
    return _Section(
        title=f"{task.name} ({task.split})",
        description=_describe(task),
        parts=[
            _summary(task, metric),
            *_ablations(task),
            *_buckets(evaluation, task),
            *_coverage(task),
            *_losses(task),
            *_exposure(evaluation, task),
            *_scatters(evaluation, task),
        ],
    )


def _describe(task: TaskResult) -> str:
    domain = f" in {task.target_domain}" if task.target_domain else ""
    facts = "; ".join(f"{name}: {value}" for name, value in task.facts.items())
    return (
        f"A {task.kind} task{domain}: {task.users:,} users with {task.truth:,} hidden items among "
        f"{task.candidates:,} candidates; {task.train:,} interactions to learn from."
        + (f" ({facts})" if facts else "")
    )


def _summary(task: TaskResult, metric: str) -> _Part:
    answered = [system for system in task.systems if system.error is None]
    metrics = list(answered[0].metrics) if answered else []
    others = [n for n in metrics if n != metric and n.startswith(("recall@", "hit_rate@", "mae"))]
    list_metrics = list(answered[0].lists) if answered else []
    comparisons = {comparison.system: comparison for comparison in task.comparisons}
    rows: list[tuple[str, ...] | _Failure] = []
    for system in task.systems:
        name = system.name + (" (best baseline)" if system.name == task.best_baseline else "")
        if system.error is not None:
            rows.append(_Failure(name, system.error))
            continue
        rows.append(
            (
                name,
                format_value(system.metrics[metric]),
                format_ratio(comparisons.get(system.name)),
                *(f"{system.metrics[other].value:.4f}" for other in others),
                *(_format(system.lists[list_metric]) for list_metric in list_metrics),
                f"{system.seconds:,.1f}",
            )
        )
    heads = ("system", metric, "over best baseline", *others, *list_metrics, "seconds")
    contents: list[_Plot | _Table] = [_Table(heads, rows)]
    if answered:
        values = "; ".join(f"{s.name} {format_value(s.metrics[metric])}" for s in answered)
        caption = f"{metric} of every system with its 95 % interval."
        contents.append(_Plot(draw_summary(task, metric), caption, values))
    return _Part("Summary", contents)


def _ablations(task: TaskResult) -> Iterator[_Part]:
    if not task.ablations:
        return
    metric = task.ablations[0].metric
    values = {system.name: system.metrics.get(metric) for system in task.systems}
    rows: list[tuple[str, ...] | _Failure] = [
        (
            ablation.system,
            ablation.reference,
            format_value(values[ablation.system]),
            format_value(ablation.difference),
            format_ratio(ablation),
            f"{ablation.adjusted_p:.4f}",
        )
        for ablation in task.ablations
    ]
    heads = ("variant", "whole", metric, "difference", "over whole", "adjusted p")
    yield _Part("Ablations", [_Table(heads, rows)])


def _buckets(evaluation: Evaluation, task: TaskResult) -> Iterator[_Part]:
    found_k = evaluation.settings.found_k
    for by, heading in (*BUCKETS, *_user_attributes(task)):
        of_users = by in OF_USERS or by.startswith(USER_ATTRIBUTE)
        metric = evaluation.settings.metric if of_users else f"found@{found_k}"
        buckets = [
            (system.name, bucket)
            for system in task.systems
            for bucket in system.buckets
            if bucket.by == by and bucket.metric == metric
        ]
        if len({bucket.name for _, bucket in buckets}) < 2:
            continue
        values = "; ".join(
            f"{name}, {bucket.name}: {bucket.estimate.value:.4f}"
            for name, bucket in buckets
            if bucket.estimate is not None
        )
        caption = (
            f"{metric} by {by}, with 95 % intervals."
            if of_users
            else f"Share of the hidden items found in the first {found_k}, by {by}, with 95 % "
            "intervals."
        )
        yield _Part(heading, [_Plot(draw_buckets(task, by, metric), caption, values)])


def _user_attributes(task: TaskResult) -> list[tuple[str, str]]:
    """Return each attribute of users that buckets are made by, with its heading."""
    names = dict.fromkeys(bucket.by for system in task.systems for bucket in system.buckets)
    return [(by, f"By {by}") for by in names if by.startswith(USER_ATTRIBUTE)]


def _coverage(task: TaskResult) -> Iterator[_Part]:
    plots: list[_Plot | _Table] = []
    for system in task.systems:
        coverage = system.coverage
        if coverage is None:
            continue
        values = "; ".join(
            f"{g.generator} {g.recall:.4f}, unique {g.unique:.4f}" for g in coverage.generators
        )
        caption = (
            f"{system.name}: share of the truth in the first {coverage.k} of each candidate "
            f"generator, and in no other's; all together {coverage.union:.4f}."
        )
        plots.append(_Plot(draw_coverage(system), caption, values))
    if plots:
        yield _Part("Coverage of candidate generators", plots)


def _losses(task: TaskResult) -> Iterator[_Part]:
    systems = [system for system in task.systems if system.loss is not None]
    losses = [(system.name, system.loss) for system in systems if system.loss is not None]
    if not losses:
        return
    rows: list[tuple[str, ...] | _Failure] = []
    for name, loss in losses:
        counts = (loss.found, loss.ranked_below, loss.never_candidate)
        rows.append((name, *(f"{n:,} ({n / sum(counts):.1%})" for n in counts)))
    k = losses[0][1].k
    caption = (
        f"Every hidden item was found in the first {k}, or was a candidate and ranked below, or "
        "never a candidate. Where a system names no candidate generators, its list stands for them."
    )
    plot = _Plot(draw_losses(systems), caption, "The table below holds the same figures.")
    table = _Table(("system", f"found in {k}", "ranked below", "never a candidate"), rows)
    yield _Part("Where truth is lost", [plot, table])


def _exposure(evaluation: Evaluation, task: TaskResult) -> Iterator[_Part]:
    k = evaluation.settings.found_k
    shares = {
        system.name: [system.lists.get(f"{group}@{k}") for group in GROUPS]
        for system in task.systems
    }
    shown = {name: [s for s in of if s is not None] for name, of in shares.items()}
    shown = {name: of for name, of in shown.items() if len(of) == len(GROUPS)}
    if not shown:
        return
    values = "; ".join(f"{name}: {' / '.join(map(_format, of))}" for name, of in shown.items())
    caption = (
        f"Share of the first {k} places by popularity: the head are the most popular candidates "
        "that have a fifth of all users of candidates, the tail the least popular ones that have "
        "the last fifth."
    )
    yield _Part("Exposure by popularity", [_Plot(draw_exposure(shown, GROUPS), caption, values)])


def _scatters(evaluation: Evaluation, task: TaskResult) -> Iterator[_Part]:
    metric, k = evaluation.settings.metric, evaluation.settings.found_k
    systems = [system for system in task.systems if metric in system.metrics and system.lists]
    if len(systems) < 2:
        return
    plots: list[_Plot | _Table] = []
    for name, explanation in (
        (f"coverage@{k}", "the share of the candidates that anybody is shown (logarithmic)"),
        (f"novelty@{k}", "the mean self-information of what is shown, in bits"),
    ):
        values = "; ".join(
            f"{s.name}: {_format(s.lists[name])}, {s.metrics[metric].value:.4f}" for s in systems
        )
        svg = draw_scatter(task, metric, name, logarithmic=name.startswith("coverage"))
        plots.append(_Plot(svg, f"{metric} against {name}: {explanation}.", values))
    yield _Part("Accuracy beside coverage and novelty", plots)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
