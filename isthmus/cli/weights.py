"""Weigh the modalities of a space, or learn how its named vectors weigh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import DeviceOption, JsonOption, SpaceOption, WaitOption


def weights(
    space: SpaceOption,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODALITY=N]...", help="New weights, as image=2."),
    ] = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Learn how named vectors weigh, for each kind of query.")
    ] = False,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            help="To learn from: item_id beside like (an item) or text; repeat it. Default: items "
            "that the same users liked."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="To learn from: items of one value of this attribute.")
    ] = None,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Show or change the fusion weights of a space, or learn how its named vectors weigh.

    Nothing is encoded. Where modalities meet in one named vector and a release is current, one with
    the new weights is published in its place.
    """
    from isthmus.cli.parse_weights import parse_weights
    from isthmus.cli.show_weights import show_fusion, show_weights
    from isthmus.errors import InvalidInput

    learn = learn or bool(pairs) or label is not None
    if learn and given:
        raise InvalidInput("give weights, or --learn them, one after the other")
    opened = open_space(space, device=device, wait_s=wait)
    if learn:
        show_fusion(opened.learn_fusion(pairs or None, label=label, progress=True), as_json=as_json)
        return
    wanted = parse_weights(given, option="")
    report = None if wanted is None else opened.set_weights(wanted, progress=True)
    show_weights(opened.weights, report, as_json=as_json)
