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
    epochs: Annotated[int, typer.Option(min=1, help="Maximum number of epochs.")] = 30,
    patience: Annotated[int, typer.Option(help="Epochs without improvement before it stops.")] = 4,
    batch: Annotated[int, typer.Option(help="Pairs in a batch.")] = 1_024,
    hard: Annotated[float, typer.Option(help="Share of a batch that is hard negatives.")] = 0.25,
    rate: Annotated[float, typer.Option(help="Learning rate, relative to the weights.")] = 0.005,
    hidden: Annotated[int, typer.Option(help="Hidden units of a head; 0: linear.")] = 0,
    dropout: Annotated[float, typer.Option(help="Dropout rate of the inputs.")] = 0.2,
    modality_dropout: Annotated[
        float, typer.Option(help="Probability that an item is represented by one modality alone.")
    ] = 1.0,
    anchor: Annotated[
        float, typer.Option(help="Weight of the distance from the closed form.")
    ] = 0.0,
    experts: Annotated[bool, typer.Option(help="Train experts for each of several sets.")] = True,
    held_out: Annotated[float, typer.Option(help="Share of each set that is held out.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) images.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Train heads that let text and pictures of different encoders find each other.

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
