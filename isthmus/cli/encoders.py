"""Commands about encoders: align, re-embed, distil, fine-tune; and the weights of modalities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import isthmus
from isthmus.cli.items import alignment_of
from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    ModelDeviceOption,
    OptionsOf,
    SpaceOption,
    Values,
    WaitOption,
    generate_options,
    open_space,
    parse_mapping,
    refuse_given,
)
from isthmus.cli.show import show_line
from isthmus.cli.show_reports import (
    show_alignment,
    show_distillation,
    show_finetuning,
    show_fusion,
    show_reembedding,
    show_weights,
)
from isthmus.encoders.training.settings import AlignmentSettings, DistillSettings, FinetuneSettings
from isthmus.errors import InvalidInput
from isthmus.operations.request import (
    AlignRequest,
    FinetuneRequest,
    LearnFusionRequest,
    PrecomputeRequest,
    ReembedRequest,
)

if TYPE_CHECKING:
    from isthmus.encoders.training.finetuning.report import FinetuneReport

Paths = list[Path] | None


@generate_options
def align(
    context: typer.Context,
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(AlignRequest, types={"pairs": list[str]})],
    settings: Annotated[Values, OptionsOf(AlignmentSettings)],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Learn projection heads that bring text and images of different encoders into one space.

    Nothing is encoded again. Where a release is current, one with the alignment is published in
    its place.
    """
    if "pairs" not in request:
        refuse_given(context, "is for --pairs", "text", "image", "http")
    opened = open_space(space, device=device, wait_s=wait_s)
    report = opened.align(**request, settings=AlignmentSettings(**settings), progress=True)
    show_alignment(report, as_json=as_json)


@generate_options
def reembed(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(ReembedRequest)],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Migrate a space to other encoders while it serves, and switch once a release is accepted.

    A migration that was interrupted resumes when the same command is run again; until it is done
    the space is what it was. isthmus rollback goes back. The same encoders at another place are
    loaded from there, and nothing is encoded.
    """
    opened = open_space(space, device=device, wait_s=wait_s)
    report = opened.reembed(**alignment_of(request), progress=True)
    show_reembedding(report, as_json=as_json)


def weights(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Show the fusion weight of each modality."""
    show_weights(open_space(space).weights, None, as_json=as_json)


def set_weights(
    space: SpaceOption,
    given: Annotated[
        list[str], typer.Argument(metavar="MODALITY=N...", help="New weights, as image=2.")
    ],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Change the fusion weights of a space; nothing is encoded.

    Where modalities meet in one named vector and a release is current, one with the new weights
    is published in its place.
    """
    opened = open_space(space, device=device, wait_s=wait_s)
    report = opened.set_weights(parse_mapping("weights", given), progress=True)
    show_weights(opened.weights, report, as_json=as_json)


@generate_options
def learn_fusion(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(LearnFusionRequest, types={"pairs": list[str]})],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Learn the weights of the named vectors for each kind of query."""
    opened = open_space(space, device=device, wait_s=wait_s)
    show_fusion(opened.learn_fusion(**request, progress=True), as_json=as_json)


@generate_options
def precompute(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(PrecomputeRequest, arguments=("model",))],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Compute once what search --rerank late-interaction, or --words sparse, reads of items."""
    opened = open_space(space, device=device, wait_s=wait_s)
    show_line(opened.precompute(**request, progress=True).as_dict(), as_json=as_json)


@generate_options
def distill(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the student.")],
    settings: Annotated[Values, OptionsOf(DistillSettings)],
    texts: Annotated[
        Paths,
        typer.Option(help="Files, globs or folders of rows, or .txt with a text a line; repeat."),
    ] = None,
    images: Annotated[Paths, typer.Option(help="Image files, or folders of them; repeat.")] = None,
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
        Paths,
        typer.Option(
            help="What users liked, user_id and item_id, to measure recommendation by; repeat it."
        ),
    ] = None,
    device: ModelDeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a small encoder to reproduce a large one's vectors, save it, and measure what is lost.

    A distillation that was interrupted resumes when the same command is run again.
    """
    if bool(texts) == bool(images):
        raise InvalidInput("give either --texts or --images to learn from")
    if student != "static":
        refuse_given(context, "is for a static student", "max_words", "pieces", "storage")
    report = isthmus.distill(
        teacher,
        student,
        texts or images,
        out,
        modality="text" if texts else "image",
        text=text,
        label=label,
        interactions=interactions or None,
        settings=DistillSettings(**settings),
        device=device,
        progress=True,
    )
    show_distillation(report, as_json=as_json)


@generate_options
def finetune(
    context: typer.Context,
    request: Annotated[Values, OptionsOf(FinetuneRequest, omit=("target",))],
    settings: Annotated[Values, OptionsOf(FinetuneSettings)],
    space: Annotated[
        Path | None, typer.Option("--space", "-s", help="Space whose users make the pairs.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Domain of the space to learn from.")] = None,
    pairs: Annotated[
        Paths, typer.Option(help="Files of pairs, in the place of a space; repeat.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Text of a pair; default: text.")] = None,
    other: Annotated[
        str | None, typer.Option(help="Text that belongs to it; default: other.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Column of the image that belongs to it.")
    ] = None,
    others: Annotated[
        Paths, typer.Option(help="Files of other domains, not to be forgotten; repeat.")
    ] = None,
    others_text: Annotated[
        str | None, typer.Option(help="Text template in --others; default: text.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune an encoder on pairs that belong together; measure what it gains and forgets.

    The pairs come from the users of a space, or from files. A fine-tuning that was interrupted
    resumes when the same command is run again.
    """
    if bool(space) == bool(pairs):
        raise InvalidInput("give either --space and --target, or --pairs to learn from")
    if space is not None:
        why = "is for --pairs; with --space the other domains are those of the space"
        refuse_given(context, why, "text", "other", "image", "others", "others_text")
        if target is None:
            raise InvalidInput("name the domain of the space to learn from with --target")
        hyperparameters = FinetuneSettings(**settings)
        report: FinetuneReport = open_space(space).finetune(
            target, **request, settings=hyperparameters, progress=True
        )
    else:
        by_users = ("target", "min_common_users", "max_pairs_per_item", "positive_from")
        refuse_given(context, "is for --space, whose users make the pairs", *by_users)
        if not others:
            refuse_given(context, "is for --others", "others_text", "label")
        report = isthmus.finetune(
            request.get("encoder", "local/text"),
            pairs,
            request["out"],
            others=others or (),
            text=text,
            other=other,
            image=image,
            others_text=others_text,
            label=request.get("label"),
            settings=FinetuneSettings(**settings),
            device=request["device"],
            progress=True,
        )
    show_finetuning(report, as_json=as_json)
