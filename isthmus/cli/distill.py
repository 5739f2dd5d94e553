"""Distil an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import JsonOption, ModelDeviceOption
from isthmus.cli.unused import refuse_given


def distill(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the student.")],
    texts: Annotated[
        list[Path] | None,
        typer.Option(help="Files, globs or folders of rows, or .txt with a text a line; repeat."),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Image files, or folders of them; repeat.")
    ] = None,
    teacher: Annotated[str, typer.Option(help="Spec of the encoder to learn from.")] = "local/text",
    student: Annotated[
        str, typer.Option(help="static, or the spec of a small model to train.")
    ] = "static",
    text: Annotated[
        str | None, typer.Option(help='Text template: "{title}. {genres}"; default: text.')
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of a label, to measure search by.")
    ] = None,
    interactions: Annotated[
        list[Path] | None,
        typer.Option(
            help="What users liked, user_id and item_id, to measure recommendation by; repeat it."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the contents.")] = 12,
    batch: Annotated[int | None, typer.Option(help="Contents a step.")] = None,
    rate: Annotated[float | None, typer.Option(help="Size of the first step.")] = None,
    similarity: Annotated[float, typer.Option(help="Weight of the similarity loss.")] = 4.0,
    temperature: Annotated[float, typer.Option(help="Of the similarity loss.")] = 0.2,
    words: Annotated[int, typer.Option(help="Most words that become tokens.")] = 10_000,
    pieces: Annotated[
        str, typer.Option(help="Word pieces of a static student: all of the teacher, or seen.")
    ] = "all",
    storage: Annotated[str, typer.Option(help="int8, float16 or float32.")] = "int8",
    held_out: Annotated[float, typer.Option(help="Share to measure on.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    device: ModelDeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a small encoder to a large one's vectors, save it, and measure what is lost.

    A distillation that was interrupted goes on when the same command is run again.
    """
    from isthmus.cli.show_distillation import show_distillation
    from isthmus.encoders.training.distillation import DistillSettings
    from isthmus.encoders.training.distillation import distill as run
    from isthmus.encoders.training.distillation.distill import STATIC
    from isthmus.errors import InvalidInput

    if bool(texts) == bool(images):
        raise InvalidInput("give either --texts or --images to learn from")
    if student != STATIC:
        refuse_given(context, "is for a static student", "words", "pieces", "storage")
    settings = DistillSettings(
        epochs=epochs,
        batch=batch,
        rate=rate,
        similarity=similarity,
        temperature=temperature,
        words=words,
        pieces=pieces,
        storage=storage,
        held_out=held_out,
        seed=seed,
    )
    report = run(
        teacher,
        student,
        texts or images,
        out,
        modality="text" if texts else "image",
        text=text,
        label=label,
        interactions=interactions or None,
        settings=settings,
        device=device,
        progress=True,
    )
    show_distillation(report, as_json=as_json)
