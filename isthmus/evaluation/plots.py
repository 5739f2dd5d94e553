"""Plots of an evaluation as SVG, to stand in an HTML page.

Besides its colour, every series has a marker or a hatching of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.digests import digest
from isthmus.evaluation.report import BucketResult, MetricValue, SystemResult, TaskResult
from isthmus.plotting import PALETTE, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"
HATCHES = ("", "///", "...")
LOSSES = (
    ("found", "found", PALETTE[2]),
    ("ranked_below", "candidate, ranked below", PALETTE[4]),
    ("never_candidate", "never a candidate", PALETTE[6]),
)
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E6EA",
    "hatch.linewidth": 0.6,
}
ERRORS = ("rmse", "mae")
WIDTH = 8.6  # inches
LEGEND_WIDTH = 90  # characters


def draw_summary(task: TaskResult, metric: str) -> str:
    """Draw the metric of every system, with its interval, the best on top."""
    shown = [(s, s.metrics[metric]) for s in task.systems if metric in s.metrics]
    shown.sort(key=lambda pair: pair[1].value, reverse=metric in ERRORS)

    def draw(axes: Axes) -> None:
        for place, (system, value) in enumerate(shown):
            colour = PALETTE[1] if system.name == task.best_baseline else PALETTE[0]
            _error_bar(axes, value, place, colour, horizontal=True)
        axes.set_yticks(range(len(shown)), [system.name for system, _ in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel(f"{metric}, 95 % interval")

    return _svg(draw, 0.9 + 0.36 * len(shown))


def draw_buckets(task: TaskResult, by: str, metric: str) -> str:
    """Draw a metric of every system over the buckets of a task."""
    names = _bucket_names(task, by, metric)
    places = {name: place for place, name in enumerate(names)}

    def draw(axes: Axes) -> None:
        shown = [s for s in task.systems if _buckets_of(s, by, metric)]
        for number, system in enumerate(shown):
            shift = 0.6 * ((number + 0.5) / len(shown) - 0.5)
            for at, bucket in enumerate(b for b in _buckets_of(system, by, metric) if b.estimate):
                label = system.name if at == 0 else None
                marker, colour = MARKERS[number % len(MARKERS)], PALETTE[number % len(PALETTE)]
                at_x = places[bucket.name] + shift
                if bucket.estimate is not None:
                    _error_bar(axes, bucket.estimate, at_x, colour, marker=marker, label=label)
        axes.set_xticks(range(len(names)), [_label(task, by, metric, name) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_xlabel(by)
        axes.set_ylabel(metric)
        axes.grid(axis="x", visible=False)
        _from_zero(axes)
        _legend(axes)

    return _svg(draw, 4.0)


def draw_coverage(system: SystemResult) -> str:
    """Draw what each candidate generator reaches, and their union."""
    coverage = system.coverage
    if coverage is None:
        return ""
    generators = sorted(coverage.generators, key=lambda generator: generator.recall)
    names = [generator.generator for generator in generators]

    def draw(axes: Axes) -> None:
        bars = [generator.recall for generator in generators]
        axes.barh(names, bars, color=PALETTE[5], label="this generator")
        unique = [generator.unique for generator in generators]
        axes.barh(names, unique, color=PALETTE[0], hatch="///", label="this generator alone")
        axes.axvline(coverage.union, color=PALETTE[1], linestyle="--", label="all together")
        axes.set_xlabel(f"recall@{coverage.k}")
        axes.grid(axis="y", visible=False)
        _legend(axes)

    return _svg(draw, 1.5 + 0.36 * len(names))


def draw_losses(systems: Sequence[SystemResult]) -> str:
    """Draw what became of the hidden items, as shares, for each system."""
    shares = {}
    for system in systems:
        if system.loss is not None:
            counts = [getattr(system.loss, field) for field, _, _ in LOSSES]
            shares[system.name] = [count / sum(counts) for count in counts]
    parts = [(label, colour) for _, label, colour in LOSSES]
    return _stacked_bars(shares, parts, "share of the hidden items")


def draw_exposure(shares: Mapping[str, Sequence[float]], groups: Sequence[str]) -> str:
    """Draw the shares of the places of lists that groups of items have, for each system."""
    colours = [colour for _, _, colour in LOSSES]
    parts = list(zip(groups, colours, strict=True))
    return _stacked_bars(shares, parts, "share of the places")


def _stacked_bars(
    shares: Mapping[str, Sequence[float]], parts: Sequence[tuple[str, str]], label: str
) -> str:
    """Draw a bar for each name, of shares that sum to 1; parts are labels and colours."""
    names = list(shares)[::-1]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(names)
        for place, ((part, colour), hatch) in enumerate(zip(parts, HATCHES, strict=True)):
            widths = [shares[name][place] for name in names]
            axes.barh(names, widths, left=left, color=colour, label=part, hatch=hatch)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_xlim(0, 1)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
        _legend(axes)

    return _svg(draw, 1.5 + 0.36 * len(names))


def draw_scatter(task: TaskResult, metric: str, beside: str, logarithmic: bool = False) -> str:
    """Draw the metric of every system against a property of its lists."""
    shown = [s for s in task.systems if metric in s.metrics]

    def draw(axes: Axes) -> None:
        for number, system in enumerate(shown):
            axes.plot(
                [np.nan if (value := system.lists.get(beside)) is None else value],
                [system.metrics[metric].value],
                marker=MARKERS[number % len(MARKERS)],
                color=PALETTE[number % len(PALETTE)],
                markersize=9,
                linestyle="",
                label=system.name,
            )
        if logarithmic:
            _logarithmic(axes)
        axes.set_xlabel(beside)
        axes.set_ylabel(metric)
        _from_zero(axes)
        _legend(axes)

    return _svg(draw, 4.0)


def _bucket_names(task: TaskResult, by: str, metric: str) -> list[str]:
    return list(dict.fromkeys(b.name for s in task.systems for b in _buckets_of(s, by, metric)))


def _buckets_of(system: SystemResult, by: str, metric: str) -> list[BucketResult]:
    return [b for b in system.buckets if b.by == by and b.metric == metric]


def _label(task: TaskResult, by: str, metric: str, name: str) -> str:
    """Return the name of a bucket with its number of users, or of hidden items."""
    bucket = next(b for s in task.systems for b in _buckets_of(s, by, metric) if b.name == name)
    if metric.startswith("found@"):
        return f"{name}\n{bucket.truth:,} items"
    return f"{name}\n{bucket.users:,} users"


def _error_bar(
    axes: Axes,
    estimate: MetricValue,
    place: float,
    colour: str,
    *,
    horizontal: bool = False,
    marker: str = "o",
    label: str | None = None,
) -> None:
    # A bootstrap interval may exclude the value itself by a rounding error.
    ends = [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]
    style: dict[str, Any] = {"fmt": marker, "color": colour, "capsize": 3, "label": label}
    if horizontal:
        axes.errorbar([estimate.value], [place], xerr=ends, **style)
    else:
        axes.errorbar([place], [estimate.value], yerr=ends, **style)


def _from_zero(axes: Axes) -> None:
    """Begin the values at 0, with room for markers at both ends."""
    _, top = axes.get_ylim()
    axes.set_ylim(-0.03 * top, 1.05 * top)


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    _, labels = axes.get_legend_handles_labels()
    if labels:
        columns = max(1, LEGEND_WIDTH // (max(map(len, labels)) + 6))
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=min(columns, len(labels)),
            frameon=False,
        )


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    """Draw on a canvas 8.6 inches wide, and return the SVG element without its metadata."""
    matplotlib = require_matplotlib("the report's plots", "evaluate")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": draw.__qualname__}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        figure.savefig(out, format="svg", metadata={"Date": None})
    document = out.getvalue()
    svg = document[document.index("<svg") :]
    return _unique_ids(re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL))


def _unique_ids(svg: str) -> str:
    """Prefix the ids within an SVG, so that many can stand in one page."""
    prefix = "f" + digest(svg).hex()[:8]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    return re.sub(r'(href="#|url\(#)([^")]+)', rf"\1{prefix}-\2", svg)
