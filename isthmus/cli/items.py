"""Put items in, and take them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import (
    AlignmentOption,
    DeviceOption,
    JsonOption,
    SpaceOption,
    WaitOption,
    WeightOption,
)
from isthmus.cli.unused import refuse_given


def create(
    context: typer.Context,
    space: Annotated[Path, typer.Argument(help="Folder to make.")],
    encoder: Annotated[str, typer.Option(help="Encoder of every modality.")] = "local",
    text_encoder: Annotated[str | None, typer.Option(help="Encoder of text alone.")] = None,
    image_encoder: Annotated[str | None, typer.Option(help="Encoder of images alone.")] = None,
    audio_encoder: Annotated[str | None, typer.Option(help="Encoder of audio alone.")] = None,
    alignment: AlignmentOption = "auto",
    weight: WeightOption = None,
    recall: Annotated[float, typer.Option(help="Recall@10 a release must reach.")] = 0.95,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make an empty space."""
    if text_encoder or image_encoder or audio_encoder:
        why = "is for every modality; name that of each with --text-encoder and so on"
        refuse_given(context, why, "encoder")
    from isthmus.cli.parse_alignment import parse_alignment
    from isthmus.cli.parse_weights import parse_weights
    from isthmus.cli.show import show_stats
    from isthmus.space import Space

    made = Space.create(
        space,
        encoder,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        audio_encoder=audio_encoder,
        alignment=parse_alignment(alignment),
        weights=parse_weights(weight),
        recall=recall,
        device=device,
        precision=precision,
    )
    show_stats(made.status(), as_json=as_json)


def add(
    files: Annotated[list[str], typer.Argument(help="Files, globs or folders of items.")],
    space: SpaceOption,
    id: Annotated[str, typer.Option(help="Column or template of the item id.")] = "item_id",
    domain: Annotated[str | None, typer.Option(help="Domain of every item.")] = None,
    domain_column: Annotated[str | None, typer.Option(help="Column of the domain.")] = None,
    text: Annotated[str | None, typer.Option(help='Text template: "{title}. {genres}".')] = None,
    image: Annotated[str | None, typer.Option(help="Column of the image.")] = None,
    audio: Annotated[str | None, typer.Option(help="Column of the audio.")] = None,
    skip_invalid: Annotated[bool, typer.Option(help="Leave invalid rows out.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) addresses.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add new items and replace changed ones; only unseen contents are encoded."""
    from isthmus.cli.show import show_report

    report = open_space(space, device=device, wait_s=wait).upsert(
        files,
        id=id,
        domain=domain,
        domain_column=domain_column,
        text=text,
        image=image,
        audio=audio,
        skip_invalid=skip_invalid,
        http=http,
        progress=True,
    )
    show_report(report.as_dict(), as_json=as_json)


def delete(
    item_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Item ids.")],
    space: SpaceOption,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Delete items, at once."""
    from isthmus.cli.show import show_line

    deleted = open_space(space, wait_s=wait).delete(item_ids)
    show_line({"asked": len(item_ids), "deleted": deleted}, as_json=as_json)


def quarantine(
    space: SpaceOption,
    retry: Annotated[bool, typer.Option("--retry", help="Try them again.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) addresses.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """List what could not be embedded, or try it again."""
    from isthmus.cli.show import show_quarantine, show_report

    opened = open_space(space, device=device, wait_s=wait)
    if retry:
        show_report(opened.retry_quarantine(http=http).as_dict(), as_json=as_json)
    else:
        show_quarantine(opened.quarantine(), as_json=as_json)
