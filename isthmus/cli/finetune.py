"""Fine-tune an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.options import JsonOption, ModelDeviceOption, PositiveFromOption
from isthmus.cli.unused import refuse_given

if TYPE_CHECKING:
    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.encoders.training.finetuning.settings import FinetuneSettings


def finetune(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the encoder.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="Spec to start from; default: the space's text encoder, or local/text."),
    ] = None,
    space: Annotated[
        Path | None, typer.Option("--space", "-s", help="Space whose users tell what is a pair.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Domain of the space to learn from.")] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(help="Files of pairs, in the place of a space; repeat."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Text of a pair; default: text.")] = None,
    other: Annotated[
        str | None, typer.Option(help="Text that belongs to it; default: other.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Column of the picture that belongs to it.")
    ] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option(help="Files of other domains, not to be forgotten; repeat."),
    ] = None,
    others_text: Annotated[
        str | None, typer.Option(help="Text template in --others; default: text.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column by which texts of other domains belong together.")
    ] = None,
    least_common: Annotated[int, typer.Option(min=1, help="Users in common, at least.")] = 2,
    most_each: Annotated[int, typer.Option(min=1, help="Pairs that an item keeps.")] = 10,
    positive_from: PositiveFromOption = None,
    method: Annotated[str, typer.Option(help="lora or full.")] = "lora",
    rank: Annotated[int, typer.Option(help="Of LoRA.")] = 16,
    layers: Annotated[
        int | None, typer.Option(help="Layers that are trained, from the top; default: all.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the pairs, at most.")] = 6,
    patience: Annotated[int, typer.Option(help="Passes without a gain before the end.")] = 2,
    batch: Annotated[int, typer.Option(help="Pairs a step.")] = 64,
    rate: Annotated[float | None, typer.Option(help="Size of the first step.")] = None,
    temperature: Annotated[float, typer.Option(help="Of the contrastive loss.")] = 0.05,
    anchor: Annotated[float, typer.Option(help="Weight of staying put in other domains.")] = 4.0,
    anchors: Annotated[int, typer.Option(help="Texts of other domains a step.")] = 32,
    max_forgetting: Annotated[
        float, typer.Option(help="Share of another domain's quality that may be lost.")
    ] = 0.01,
    validation: Annotated[float, typer.Option(help="Share for early stopping.")] = 0.15,
    held_out: Annotated[float, typer.Option(help="Share to measure on.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    device: ModelDeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train an encoder further on what belongs together, and measure what it gains and forgets.

    What belongs together is told by the users of a space, or by files of pairs. A fine-tuning
    that was interrupted goes on when the same command is run again.
    """
    from isthmus.cli.show_finetuning import show_finetuning
    from isthmus.encoders.training.finetuning import FinetuneSettings
    from isthmus.encoders.training.finetuning import finetune as run
    from isthmus.errors import InvalidInput

    settings = FinetuneSettings(
        method=method,
        rank=rank,
        layers=layers,
        epochs=epochs,
        patience=patience,
        batch=batch,
        rate=rate,
        temperature=temperature,
        anchor=anchor,
        anchors=anchors,
        max_forgetting=max_forgetting,
        validation=validation,
        held_out=held_out,
        seed=seed,
    )
    if bool(space) == bool(pairs):
        raise InvalidInput("give either --space and --target, or --pairs to learn from")
    if pairs:
        by_users = ("target", "least_common", "most_each", "positive_from")
        refuse_given(context, "is for --space, whose users tell what is a pair", *by_users)
        if not others:
            refuse_given(context, "is for --others", "others_text", "label")
        report = run(
            encoder or "local/text",
            [Path(one) for one in pairs],
            out,
            others=others or (),
            text=text,
            other=other,
            image=image,
            others_text=others_text,
            label=label,
            settings=settings,
            device=device,
            progress=True,
        )
    else:
        why = "is for --pairs; with --space the other domains are those of the space"
        refuse_given(context, why, "text", "other", "image", "others", "others_text")
        report = _by_users(
            space,
            target,
            out,
            encoder=encoder,
            label=label,
            least_common=least_common,
            most_each=most_each,
            positive_from=positive_from,
            settings=settings,
            device=device,
        )
    show_finetuning(report, as_json=as_json)


def _by_users(
    space: Path | None,
    target: str | None,
    out: Path,
    *,
    encoder: str | None,
    label: str | None,
    least_common: int,
    most_each: int,
    positive_from: float | None,
    settings: FinetuneSettings,
    device: str,
) -> FinetuneReport:
    from isthmus.cli.opening import open_space
    from isthmus.errors import InvalidInput

    if space is None or target is None:
        raise InvalidInput("name the domain of the space to learn from with --target")
    return open_space(space).finetune(
        target,
        out,
        encoder=encoder,
        label=label,
        min_common_users=least_common,
        max_pairs_per_item=most_each,
        positive_from=positive_from,
        settings=settings,
        device=device,
        progress=True,
    )
