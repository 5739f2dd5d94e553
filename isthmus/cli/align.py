"""Bring the encoders of a space together."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import DeviceOption, JsonOption, SpaceOption, WaitOption
from isthmus.cli.unused import refuse_given


def align(
    context: typer.Context,
    space: SpaceOption,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Texts and pictures that belong together; repeat it. Default: the items of the "
            "space that have both.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help='Column or template: "{title}. {genres}".')
    ] = None,
    image: Annotated[str | None, typer.Option(help="Column of the picture.")] = None,
    dim: Annotated[int, typer.Option(min=1, help="Length of an aligned vector.")] = 256,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs, at most.")] = 30,
    patience: Annotated[int, typer.Option(help="Passes without a gain before the end.")] = 4,
    batch: Annotated[int, typer.Option(help="Pairs a step.")] = 1_024,
    hard: Annotated[float, typer.Option(help="Share of a batch that is mined.")] = 0.25,
    rate: Annotated[float, typer.Option(help="Step, relative to the weights.")] = 0.005,
    hidden: Annotated[int, typer.Option(help="Nonlinear units of a head; 0: linear.")] = 0,
    dropout: Annotated[float, typer.Option(help="Share of the inputs dropped in learning.")] = 0.2,
    modality_dropout: Annotated[
        float, typer.Option(help="How often an item of a pair is shown by one modality alone.")
    ] = 1.0,
    anchor: Annotated[float, typer.Option(help="Weight of staying near the closed form.")] = 0.0,
    members: Annotated[int, typer.Option(help="Heads that are learned and folded into one.")] = 1,
    experts: Annotated[
        bool, typer.Option(help="Heads of its own for each of several sets.")
    ] = True,
    held_out: Annotated[float, typer.Option(help="Share of each set to stop by and report.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) images.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Learn heads that let text and pictures of different encoders find each other.

    Nothing is encoded that was before. Where a release is current, one with the alignment is
    published in its place.
    """
    from isthmus.cli.show_alignment import show_alignment
    from isthmus.encoders.training.alignment.settings import AlignmentSettings

    if not pairs:
        refuse_given(context, "is for --pairs", "text", "image", "http")
    settings = AlignmentSettings(
        dim=dim,
        held_out=held_out,
        epochs=epochs,
        patience=patience,
        batch=batch,
        hard=hard,
        hidden=hidden,
        dropout=dropout,
        modality_dropout=modality_dropout,
        learning_rate=rate,
        anchor=anchor,
        members=members,
        experts=experts,
        seed=seed,
    )
    report = open_space(space, device=device, wait_s=wait).align(
        pairs or None,
        text=text,
        image=image,
        settings=settings,
        http=http,
        progress=True,
    )
    show_alignment(report, as_json=as_json)
