"""Train what recommends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import JsonOption, PositiveFromOption, SpaceOption, WaitOption


def train(
    space: SpaceOption,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Domains to recommend in; default: all with 20 users or more."),
    ] = None,
    pretrain: Annotated[
        list[str] | None,
        typer.Option(help="Domains that a ranker is trained on before it is fine-tuned."),
    ] = None,
    finetune: Annotated[
        Path | None, typer.Option(help="Another space, whose published rankers are fine-tuned.")
    ] = None,
    positive_from: PositiveFromOption = None,
    guard: Annotated[
        bool,
        typer.Option(help="Measure the other domains, and ignore for a target those that hurt."),
    ] = True,
    tune: Annotated[
        int, typer.Option(metavar="N", help="Try N settings of each ranker; keep the best.")
    ] = 0,
    loss: Annotated[str, typer.Option(help="listwise or pairwise.")] = "listwise",
    folds: Annotated[int, typer.Option(help="Cross-fitting folds of the users.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs of a ranker, at most.")] = 10,
    distil_ranker: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Distil each ranker into one of N units, which replaces it; try 16.",
        ),
    ] = 0,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Candidate generator not to use; repeat it.")
    ] = None,
    normalisation: Annotated[
        str, typer.Option(help="Of contents, by domain: none, centre, or whiten too.")
    ] = "whiten",
    adversarial: Annotated[
        float, typer.Option(help="Weight of the domain-adversarial term; 0 is off.")
    ] = 0.0,
    coral: Annotated[float, typer.Option(help="Weight of the CORAL term; 0 is off.")] = 0.0,
    mmd: Annotated[
        float, typer.Option(help="Weight of the maximum mean discrepancy; 0 is off.")
    ] = 0.0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Train on all devices that accelerate has.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Train candidate generators and rankers on the stored interactions.

    What was trained becomes part of the next release: run isthmus publish after it. A training
    that was interrupted goes on when the same command is run again.
    """
    from isthmus.cli.show_training import show_training
    from isthmus.retrieval.recommend.settings import settings_from

    settings = settings_from(
        loss=loss,
        folds=folds,
        epochs=epochs,
        leave_out=leave_out or (),
        normalisation=normalisation,
        adversarial=adversarial,
        coral=coral,
        mmd=mmd,
        precision=precision,
        distributed=distributed,
        guard=guard,
        trials=tune,
        distil=distil_ranker,
        seed=seed,
    )
    made = open_space(space, wait_s=wait).train(
        target or None,
        pretrain=pretrain,
        start_from=finetune,
        settings=settings,
        positive_from=positive_from,
        progress=True,
    )
    show_training(made, as_json=as_json)
