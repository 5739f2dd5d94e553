"""The report card as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from isthmus.errors import InvalidInput
from isthmus.evaluation.buckets import (
    SOURCE_EVIDENCE,
    TARGET_EVIDENCE,
    TRUTH_DOMAIN,
    TRUTH_MODALITIES,
    TRUTH_POPULARITY,
)
from isthmus.evaluation.plots import (
    draw_buckets,
    draw_coverage,
    draw_losses,
    draw_scatter,
    draw_summary,
)
from isthmus.evaluation.report import ComparisonResult, Evaluation, TaskResult
from isthmus.evaluation.terminal import SIGNIFICANT, describe_figure, describe_ratio

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem 4rem; background: #fff;
  color: #1c2430; font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 2px solid #1c2430; }
h3 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p, figcaption { max-width: 46rem; }
.faint, figcaption { color: #4a5464; }
nav a { margin-right: 1rem; }
a { color: #0057a3; }
figure { margin: 1rem 0 1.6rem; }
figure svg { width: 100%; height: auto; }
figcaption { font-size: .92rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #e3e6ea;
  white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td.failed { text-align: left; white-space: normal; color: #a11d1d; }
thead th { border-bottom: 2px solid #1c2430; }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; font-size: .85rem; }
"""
PARTS = (
    (TARGET_EVIDENCE, "By what is known of a user in the target domain"),
    (SOURCE_EVIDENCE, "By what is known of a user in other domains"),
    (TRUTH_DOMAIN, "By domain of the hidden items"),
    (TRUTH_POPULARITY, "By popularity of the hidden items"),
    (TRUTH_MODALITIES, "By modalities of the hidden items"),
)


def write_html(evaluation: Evaluation, path: str | Path, title: str = "Evaluation") -> None:
    """Write the report card as an HTML page, plots included.

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
    """Give the report card as an HTML page.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    tasks = evaluation.tasks
    links = "".join(
        f'<a href="#task-{number}">{escape(_title(task))}</a>' for number, task in enumerate(tasks)
    )
    sections = [_task(evaluation, task, number) for number, task in enumerate(tasks)]
    how = evaluation.settings
    said = (
        f"Figures are means over users with 95 % bootstrap intervals ({how.resamples:,} resamples, "
        f"seed {how.seed}). Systems are compared by {how.metric} with the best baseline "
        f"on the same users; * marks a difference with p < {SIGNIFICANT} ({how.test} test, "
        f"{how.correction} correction)."
    )
    settings = json.dumps(
        {"settings": how.model_dump(), "versions": evaluation.versions},
        indent=1,
        ensure_ascii=False,
        default=str,
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>{escape(title)}</h1>",
            f'<p class="faint">Measured {escape(evaluation.created)}.</p>',
            f"<p>{escape(said)}</p>\n<nav>{links}<a href='#settings'>Settings</a></nav></header>",
            "<main>",
            *sections,
            *_skipped(evaluation),
            '<section id="settings"><h2>Settings</h2>',
            f"<pre>{escape(settings)}</pre></section>\n</main>\n</body>\n</html>\n",
        ]
    )


def _task(evaluation: Evaluation, task: TaskResult, number: int) -> str:
    metric = "rmse" if task.kind == "rating" else evaluation.settings.metric
    return "\n".join(
        [
            f'<section id="task-{number}"><h2>{escape(_title(task))}</h2>',
            f"<p>{escape(_describe(task))}</p>",
            *_summary(task, metric),
            *(_ablations(task) if task.ablations else ()),
            *_parts(evaluation, task),
            *_sources(task),
            *_losses(task),
            *_scatters(evaluation, task),
            "</section>",
        ]
    )


def _skipped(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.skipped:
        yield '<section id="skipped"><h2>Skipped</h2>'
        yield _table(("task", "why"), [_row(own.name, own.reason) for own in evaluation.skipped])
        yield "</section>"


def _summary(task: TaskResult, metric: str) -> Iterator[str]:
    yield "<h3>Summary</h3>"
    answered = [system for system in task.systems if system.error is None]
    names = list(answered[0].metrics) if answered else []
    others = [n for n in names if n != metric and n.startswith(("recall@", "hit_rate@", "mae"))]
    qualities = list(answered[0].lists) if answered else []
    compared = {c.system: c for c in task.comparisons}
    rows = []
    for system in task.systems:
        name = system.name + (" (best baseline)" if system.name == task.best_baseline else "")
        if system.error is not None:
            rows.append(_failed(name, system.error))
            continue
        rows.append(
            _row(
                name,
                describe_figure(system.metrics[metric]),
                describe_ratio(compared.get(system.name)),
                *(f"{system.metrics[other].value:.4f}" for other in others),
                *(_plain(system.lists[quality]) for quality in qualities),
                f"{system.seconds:,.1f}",
            )
        )
    heads = ("system", metric, "over best baseline", *others, *qualities, "seconds")
    yield _table(heads, rows)
    if answered:
        values = "; ".join(f"{s.name} {describe_figure(s.metrics[metric])}" for s in answered)
        says = f"{metric} of every system with its 95 % interval."
        yield _figure(draw_summary(task, metric), says, values)


def _ablations(task: TaskResult) -> Iterator[str]:
    yield "<h3>Ablations</h3>"
    metric = task.ablations[0].metric
    values = {s.name: s.metrics.get(metric) for s in task.systems}
    rows = [
        _row(
            c.system, c.reference, describe_figure(values[c.system]),
            describe_figure(c.difference), describe_ratio(c), _p(c),
        )
        for c in task.ablations
    ]  # fmt: skip
    yield _table(("variant", "whole", metric, "difference", "over whole", "adjusted p"), rows)


def _parts(evaluation: Evaluation, task: TaskResult) -> Iterator[str]:
    for by, heading in PARTS:
        of_users = by in (TARGET_EVIDENCE, SOURCE_EVIDENCE)
        metric = evaluation.settings.metric if of_users else f"found@{evaluation.settings.found_k}"
        buckets = [
            (system.name, bucket)
            for system in task.systems
            for bucket in system.buckets
            if bucket.by == by and bucket.metric == metric
        ]
        if len({bucket.name for _, bucket in buckets}) < 2:
            continue
        values = "; ".join(
            f"{name}, {bucket.name}: {bucket.figure.value:.4f}"
            for name, bucket in buckets
            if bucket.figure is not None
        )
        yield f"<h3>{escape(heading)}</h3>"
        says = (
            f"{metric} by {by}, with 95 % intervals."
            if of_users
            else f"Share of the hidden items found in the first {evaluation.settings.found_k}, "
            f"by {by}, with 95 % intervals."
        )
        yield _figure(draw_buckets(task, by, metric), says, values)


def _sources(task: TaskResult) -> Iterator[str]:
    having = [(s.name, s, s.coverage) for s in task.systems if s.coverage is not None]
    if having:
        yield "<h3>Coverage of candidate sources</h3>"
    for name, system, coverage in having:
        values = "; ".join(
            f"{s.source} {s.recall:.4f}, alone {s.alone:.4f}" for s in coverage.sources
        )
        says = (
            f"{name}: share of the truth in the first {coverage.k} of each source, and in no other "
            f"source's; all together {coverage.union:.4f}."
        )
        yield _figure(draw_coverage(system), says, values)


def _losses(task: TaskResult) -> Iterator[str]:
    having = [system for system in task.systems if system.loss is not None]
    if not having:
        return
    yield "<h3>Where truth is lost</h3>"
    rows = []
    for system in having:
        if system.loss is not None:
            fates = (system.loss.found, system.loss.ranked_below, system.loss.never_candidate)
            rows.append(_row(system.name, *(f"{n:,} ({n / sum(fates):.1%})" for n in fates)))
    k = having[0].loss.k if having[0].loss else 0
    says = (
        f"Every hidden item was found in the first {k}, or proposed by a source and ranked below, "
        "or never a candidate. A system that names no sources has its list for candidates."
    )
    yield _figure(draw_losses(having), says, "The table below holds the same figures.")
    yield _table(("system", f"found in {k}", "ranked below", "never a candidate"), rows)


def _scatters(evaluation: Evaluation, task: TaskResult) -> Iterator[str]:
    metric, k = evaluation.settings.metric, evaluation.settings.found_k
    having = [system for system in task.systems if metric in system.metrics and system.lists]
    if len(having) < 2:
        return
    yield "<h3>Accuracy beside coverage and novelty</h3>"
    for name, says in (
        (f"coverage@{k}", "the share of the candidates that anybody is shown (logarithmic)"),
        (f"novelty@{k}", "the mean self-information of what is shown, in bits"),
    ):
        values = "; ".join(
            f"{s.name}: {_plain(s.lists[name])}, {s.metrics[metric].value:.4f}" for s in having
        )
        plot = draw_scatter(task, metric, name, logarithmic=name.startswith("coverage"))
        yield _figure(plot, f"{metric} against {name}: {says}.", values)


def _title(task: TaskResult) -> str:
    return f"{task.name} ({task.split})"


def _describe(task: TaskResult) -> str:
    into = f" in {task.target_domain}" if task.target_domain else ""
    facts = "; ".join(f"{name}: {value}" for name, value in task.facts.items())
    return (
        f"A {task.kind} task{into}: {task.users:,} users with {task.truth:,} hidden items among "
        f"{task.candidates:,} candidates; {task.train:,} interactions to learn from."
        + (f" ({facts})" if facts else "")
    )


def _figure(svg: str, caption: str, values: str) -> str:
    alternative = escape(f"{caption} {values}", quote=True)
    return (
        f'<figure><div role="img" aria-label="{alternative}">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>'
        "</div>"
    )


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _failed(name: str, error: str) -> str:
    said = f"failed: {error}"
    return f'<tr><td>{escape(name)}</td><td class="failed" colspan="20">{escape(said)}</td></tr>'


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _p(comparison: ComparisonResult) -> str:
    return f"{comparison.adjusted_p:.4f}"
