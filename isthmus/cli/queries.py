"""Find items, and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import (
    AllOption,
    CalibrateOption,
    CandidatesOption,
    CenterOption,
    DeviceOption,
    DiversityOption,
    DomainsOption,
    HubnessOption,
    JsonOption,
    KOption,
    LikeOption,
    MinScoreOption,
    QuotaOption,
    SheetOption,
    SpaceOption,
    UnlikeOption,
    WeightOption,
    WhereOption,
)
from isthmus.cli.unused import refuse_given


def get(
    item_id: Annotated[str, typer.Argument(help="Item id.")],
    space: SpaceOption,
    as_json: JsonOption = False,
) -> None:
    """Show one item."""
    from isthmus.cli.show import show_item

    show_item(open_space(space).get(item_id), as_json=as_json)


def count(
    space: SpaceOption,
    domain: DomainsOption = None,
    where: WhereOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count searchable items."""
    from isthmus.cli.show import show_line

    show_line({"count": open_space(space).count(domain, where)}, as_json=as_json)


# What a file of queries is not asked with.
_OF_ONE_QUERY = (
    "text",
    "image",
    "audio",
    "like",
    "unlike",
    "min_score",
    "everything",
    "diversity",
    "candidates",
    "quota",
    "calibrate",
    "hubness",
    "center",
    "hybrid",
    "lexical_weight",
    "sheet",
)


def search(
    context: typer.Context,
    space: SpaceOption,
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to look for.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Audio to look for.")] = None,
    k: KOption = 10,
    domain: DomainsOption = None,
    where: WhereOption = None,
    min_score: MinScoreOption = None,
    everything: AllOption = False,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    calibrate: CalibrateOption = False,
    hubness: HubnessOption = 0.0,
    center: CenterOption = False,
    weight: WeightOption = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Compare words too (BM25).")] = False,
    lexical_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the words, with --hybrid.")
    ] = 1.0,
    queries: Annotated[
        Path | None,
        typer.Option(help="File of queries: query_id and text, image, audio or vector."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write, with --queries.")] = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the items nearest to a text, a picture, audio, examples; or answer a file of queries."""
    if (queries is None) != (out is None):
        raise typer.BadParameter("--queries and --out go together")
    if queries is not None:
        refuse_given(context, "is for one query, not for --queries", *_OF_ONE_QUERY)
    if not hybrid:
        refuse_given(context, "is for --hybrid", "lexical_weight")
    asked_for = (queries, text, image, audio, like or None, unlike or None)
    if all(given is None for given in asked_for):
        raise typer.BadParameter(
            "give a TEXT, an --image, --audio, items to be --like, or several of them; or --queries"
        )
    from isthmus.cli.parse_weights import parse_weights
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits, show_query_report

    opened = open_space(space, device=device)
    if queries is not None and out is not None:
        report = opened.search_file(
            queries,
            out,
            k=k,
            domain=domain,
            where=where,
            weights=parse_weights(weight),
            progress=True,
        )
        show_query_report(report, out, as_json=as_json)
        return
    hits = opened.search(
        text,
        image=image,
        audio=audio,
        like=like or (),
        unlike=unlike or (),
        k=None if everything else k,
        domain=domain,
        where=where,
        min_score=min_score,
        diversity=diversity,
        num_candidates=candidates,
        quotas=parse_quotas(quota),
        normalize_scores=calibrate,
        hubness_correction=hubness,
        center_scores=center,
        weights=parse_weights(weight),
        attributes=True,
        hybrid=hybrid,
        bm25_weight=lexical_weight,
    )
    files = [str(file) for file in (image, audio) if file]
    asked = text or ", ".join([*files, *(like or unlike or [])])
    show_hits(opened, asked, image, hits, sheet, as_json=as_json)


def similar(
    item_id: Annotated[str, typer.Argument(help="Item to compare with.")],
    space: SpaceOption,
    k: KOption = 10,
    domain: DomainsOption = None,
    where: WhereOption = None,
    min_score: MinScoreOption = None,
    everything: AllOption = False,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    calibrate: CalibrateOption = False,
    hubness: HubnessOption = 0.0,
    center: CenterOption = False,
    weight: WeightOption = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the items most like an item, across domains."""
    from isthmus.cli.parse_weights import parse_weights
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits

    opened = open_space(space, device=device)
    hits = opened.similar(
        item_id,
        like=like or (),
        unlike=unlike or (),
        k=None if everything else k,
        domain=domain,
        where=where,
        min_score=min_score,
        diversity=diversity,
        num_candidates=candidates,
        quotas=parse_quotas(quota),
        normalize_scores=calibrate,
        hubness_correction=hubness,
        center_scores=center,
        weights=parse_weights(weight),
        attributes=True,
    )
    item = opened.get(item_id)
    show_hits(opened, item["text"] or item_id, item["image"], hits, sheet, as_json=as_json)


def duplicates(
    space: SpaceOption,
    threshold: Annotated[
        float, typer.Option(help="Cosine similarity from which items are duplicates.")
    ] = 0.95,
    domain: DomainsOption = None,
    where: WhereOption = None,
    vector_name: Annotated[
        str | None, typer.Option(help="Block to compare in, such as image.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find groups of items that are nearly the same, within and across domains."""
    from isthmus.cli.show import show_duplicates
    from isthmus.data.files import write_parquet

    table = open_space(space).duplicates(
        threshold, domain=domain, where=where, vector_name=vector_name, progress=True
    )
    if out is not None:
        write_parquet(table, out)
    show_duplicates(table, out, as_json=as_json)
