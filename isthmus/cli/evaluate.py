"""Measure recommendations on what users did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import DeviceOption, JsonOption, SpaceOption


def evaluate(
    space: SpaceOption,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Domains to recommend in; default: all that have interactions."),
    ] = None,
    protocols: Annotated[
        list[str] | None,
        typer.Option(
            help="What is hidden: cold, few1, few3, few5, warm, cold_item, rating, temporal; "
            "default: all of them."
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(help="Ready protocols: train, val, test, candidates as Parquet."),
    ] = None,
    baselines: Annotated[
        list[str] | None, typer.Option(help="Which baselines, such as item-KNN; default: all.")
    ] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option(help="Of isthmus, 'isthmus ratings' and interests; default: all."),
    ] = None,
    positive_from: Annotated[
        float | None,
        typer.Option(
            help="Least value that is positive; default: 0.8 of the largest where values differ."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for JSON and HTML; there an evaluation resumes.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take the first settings of each baseline; no tuning.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how well the space and every baseline recommend what is hidden from them.

    Baselines are tuned on validation users; all systems then rank every item of the target
    domain. Options that take several values take them one after the other.
    """
    from isthmus.cli.show import show_json
    from isthmus.evaluation.plan import EvaluationPlan
    from isthmus.evaluation.terminal import show_evaluation

    plan = EvaluationPlan(
        targets=target or (),
        protocols=protocols or None,
        folders=folder or (),
        baselines=baselines or None,
        systems=systems or None,
        positive_from=positive_from,
        quick=quick,
        seed=seed,
    )
    evaluation = open_space(space, device=device).evaluate(plan, out=out, progress=True)
    if as_json:
        show_json(evaluation.model_dump(mode="json"))
    else:
        show_evaluation(evaluation)
