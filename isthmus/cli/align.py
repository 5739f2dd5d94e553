"""Bring the encoders of a space together."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import DeviceOption, JsonOption, SpaceOption, WaitOption


def align(
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
    from isthmus.encoders.alignment.settings import AlignmentSettings

    report = open_space(space, device=device, wait_s=wait).align(
        pairs or None,
        text=text,
        image=image,
        settings=AlignmentSettings(dim=dim, epochs=epochs, seed=seed),
        http=http,
        progress=True,
    )
    show_alignment(report, as_json=as_json)
