"""Move a space to other encoders."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.options import AlignmentOption, DeviceOption, JsonOption, SpaceOption, WaitOption

if TYPE_CHECKING:
    from isthmus.operations.reembedding import ReembedReport


def reembed(
    space: SpaceOption,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder of every modality that it takes.")
    ] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Encoder of text alone.")] = None,
    image_encoder: Annotated[str | None, typer.Option(help="Encoder of images alone.")] = None,
    audio_encoder: Annotated[str | None, typer.Option(help="Encoder of audio alone.")] = None,
    alignment: AlignmentOption = "auto",
    drop_recommender: Annotated[
        bool,
        typer.Option(
            "--drop-recommender", help="Leave behind what was trained on the former vectors."
        ),
    ] = False,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) addresses.")] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Move a space to other encoders while it serves, and switch once a release is accepted.

    A move that was interrupted goes on when the same command is run again; until it is done the
    space is what it was. isthmus rollback goes back. The same encoders at another place are
    loaded from there, and nothing is encoded.
    """
    from isthmus.cli.opening import open_space
    from isthmus.cli.parse_alignment import parse_alignment

    report = open_space(space, device=device, wait_s=wait).reembed(
        encoder,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        audio_encoder=audio_encoder,
        alignment=parse_alignment(alignment),
        drop_recommender=drop_recommender,
        precision=precision,
        http=http,
        progress=True,
    )
    _show(report, as_json=as_json)


def _show(report: ReembedReport, *, as_json: bool) -> None:
    from isthmus.cli.show import show_json

    if as_json:
        show_json(asdict(report))
        return
    if report.fingerprint == report.former:
        typer.echo(
            f"the space has these encoders: {', '.join(dict.fromkeys(report.encoders.values()))}"
        )
    else:
        typer.echo(f"encoder stack {report.former} became {report.fingerprint}")
    encoded = ", ".join(f"{count:,} {modality}" for modality, count in report.encoded.items())
    typer.echo(
        f"encoded {encoded}; {report.taken_up:,} items taken up that changed meanwhile; "
        f"{report.quarantined:,} in quarantine; {report.seconds:.1f} s"
    )
    if report.alignment == "lost":
        typer.echo(
            "the alignment was learned for the former encoders and is gone: text finds no "
            "pictures until it is learned anew with: isthmus align"
        )
    if report.recommender_dropped:
        typer.echo("the recommender was left behind; train anew: isthmus train, isthmus publish")
    if report.release is not None:
        typer.echo(f"release {report.release} is current; whoever has the space open opens it anew")
