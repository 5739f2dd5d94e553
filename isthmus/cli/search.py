"""Commands that search a space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import (
    AllOption,
    DeviceOption,
    JsonOption,
    OptionsOf,
    SheetOption,
    SpaceOption,
    Values,
    generate_options,
    open_space,
    refuse_given,
)
from isthmus.cli.show import (
    show_duplicates,
    show_facets,
    show_groups,
    show_hits,
    show_line,
    show_query_report,
)
from isthmus.retrieval.search.request import (
    DuplicatesRequest,
    FacetsRequest,
    MapRequest,
    SearchFileRequest,
    SearchGroupsRequest,
    SearchRequest,
    SimilarRequest,
)

# Given as Python objects, or of no use on a command line.
PYTHON_ONLY = ("vector", "fingerprint", "attributes")


@generate_options
def search(
    context: typer.Context,
    space: SpaceOption,
    request: Annotated[
        Values,
        OptionsOf(
            SearchRequest,
            omit=PYTHON_ONLY,
            arguments=("text",),
            types={"image": Path, "audio": Path},
        ),
    ],
    everything: AllOption = False,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the items nearest to a text, an image, audio, or examples."""
    if not request.get("hybrid"):
        refuse_given(context, "is for --hybrid", "bm25_weight", "words")
    if not request.get("rerank"):
        refuse_given(context, "is for --rerank", "rerank_depth")
    if not any(request.get(name) for name in ("text", "image", "audio", "like", "unlike")):
        raise typer.BadParameter(
            "give a TEXT, an --image, --audio, items to be --like, or several of them"
        )
    if everything:
        request["k"] = None
    opened = open_space(space, device=device)
    hits = opened.search(**request, attributes=True)
    files = [str(request[name]) for name in ("image", "audio") if name in request]
    examples = request.get("like") or request.get("unlike") or []
    title = request.get("text") or ", ".join([*files, *examples])
    show_hits(opened, title, request.get("image"), hits, sheet, as_json=as_json)


@generate_options
def search_groups(
    space: SpaceOption,
    request: Annotated[
        Values,
        OptionsOf(
            SearchGroupsRequest,
            omit=(*PYTHON_ONLY, "cursor"),
            arguments=("by", "text"),
            types={"image": Path, "audio": Path},
        ),
    ],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the best items of each value of an attribute."""
    groups = open_space(space, device=device).search_groups(**request, attributes=True)
    show_groups(groups, as_json=as_json)


@generate_options
def facets(
    space: SpaceOption,
    request: Annotated[
        Values,
        OptionsOf(FacetsRequest, arguments=("attributes",), types={"attributes": list[str]}),
    ],
    everything: Annotated[bool, typer.Option("--all", help="All values.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Count the searchable items that have each value of attributes."""
    if everything:
        request["k"] = None
    show_facets(open_space(space).facets(**request), as_json=as_json)


@generate_options
def search_file(
    space: SpaceOption,
    request: Annotated[
        Values, OptionsOf(SearchFileRequest, arguments=("queries",), types={"queries": Path})
    ],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Answer a file of queries into a Parquet file."""
    report = open_space(space, device=device).search_file(**request, progress=True)
    show_query_report(report, request["out"], as_json=as_json)


@generate_options
def similar(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(SimilarRequest, omit=PYTHON_ONLY, arguments=("item_id",))],
    everything: AllOption = False,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the items most similar to an item, across domains."""
    if everything:
        request["k"] = None
    opened = open_space(space, device=device)
    hits = opened.similar(**request, attributes=True)
    item = opened.get(request["item_id"])
    title = item["text"] or request["item_id"]
    show_hits(opened, title, item["image"], hits, sheet, as_json=as_json)


@generate_options
def duplicates(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(DuplicatesRequest)],
    out: Annotated[Path | None, typer.Option(help="Parquet to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find groups of near-duplicate items, within and across domains."""
    from isthmus.data.files import write_parquet

    table = open_space(space).duplicates(**request, progress=True)
    if out is not None:
        write_parquet(table, out)
    show_duplicates(table, out, as_json=as_json)


@generate_options
def map_space(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(MapRequest)],
    out: Annotated[Path, typer.Option(help="Image to draw: PNG, SVG or PDF.")] = Path("map.png"),
    table: Annotated[Path | None, typer.Option(help="Parquet to write the points into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the items by domain and modality, similar ones close together (UMAP)."""
    from isthmus.data.files import write_parquet

    drawing = open_space(space).map(**request)
    drawing.save(out)
    if table is not None:
        write_parquet(drawing.table(), table)
    counts = {
        "vector_name": drawing.vector_name,
        "items": len(set(drawing.item_ids)),
        "points": len(drawing),
    }
    show_line({**counts, "out": str(out)}, as_json=as_json)
