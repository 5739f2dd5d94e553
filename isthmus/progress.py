"""Progress bars with rate and remaining time, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[float], None]


@contextmanager
def progress_bar(label: str, total: int | None, *, show: bool) -> Iterator[Advance]:
    """Show a bar while the body runs.

    Parameters
    ----------
    label : str
        Text in front of the bar.
    total : int or None
        Number of steps; None if it is unknown.
    show : bool
        Whether to show the bar.

    Yields
    ------
    callable
        Call it with the number of steps since the last call.
    """
    if not show:
        yield ignore_progress
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        yield partial(progress.advance, task)


def ignore_progress(steps: float) -> None:
    """Ignore progress; used where no bar is shown."""


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "-/s", style="progress.data.speed")
