"""Commands about items: create a space; add, read, count and delete items; quarantine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import isthmus
from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    OptionsOf,
    SpaceOption,
    Values,
    WaitOption,
    YesOption,
    confirm,
    generate_options,
    open_space,
    refuse_given,
)
from isthmus.cli.show import show_item, show_line, show_quarantine, show_report, show_stats
from isthmus.operations.request import (
    CreateRequest,
    DeleteRequest,
    UpdateRequest,
    UpsertRequest,
    VectorsRequest,
)
from isthmus.retrieval.search.request import FilterOptions, ScrollRequest
from isthmus.terminal import say, say_json

LISTED = dict.fromkeys(("columns", "exclude", "null_values"), str)  # a,b,c
ITEM_TYPES = {"items": list[str], "vector": str, **LISTED}


@generate_options
def create(
    context: typer.Context,
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(CreateRequest, omit=("path",))],
    as_json: JsonOption = False,
) -> None:
    """Create an empty space."""
    if any(request.get(f"{modality}_encoder") for modality in ("text", "image", "audio")):
        why = "is for every modality; name that of each with --text-encoder and so on"
        refuse_given(context, why, "encoder")
    created = isthmus.Space.create(space, **alignment_of(request))
    show_stats(created.status(), as_json=as_json)


@generate_options
def upsert(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(UpsertRequest, arguments=("items",), types=ITEM_TYPES)],
    yes: YesOption = False,
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add new items and change those that are there; only unseen contents are encoded.

    With --sync or --remap, what would be done is shown first and has to be confirmed.
    """
    opened = open_space(space, device=device, wait_s=wait_s)
    if (request.get("sync") or request.get("remap")) and not (yes or request.get("dry_run")):
        planned = opened.upsert(**request | {"dry_run": True}, progress=True)
        show_report(planned.as_dict(), as_json=False, err=True)
        encoded = f"encode {planned.reencoded:,} items anew" if planned.reencoded else ""
        deleted = f"delete {planned.deleted:,} items" if planned.deleted else ""
        steps = [step for step in (encoded, deleted) if step]
        confirm(f"{', '.join(steps)}?", yes=not steps)
    report = opened.upsert(**request, progress=True)
    show_report(report.as_dict(), as_json=as_json)


@generate_options
def update(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(UpdateRequest, arguments=("items",), types=ITEM_TYPES)],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Change items that are there, in the columns that the input has, such as prices."""
    report = open_space(space, device=device, wait_s=wait_s).update(**request, progress=True)
    show_report(report.as_dict(), as_json=as_json)


@generate_options
def delete(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(DeleteRequest, arguments=("item_ids",))],
    yes: YesOption = False,
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Delete items, at once; those that a filter selects, after asking."""
    opened = open_space(space, wait_s=wait_s)
    parsed = DeleteRequest(**request)
    if parsed.selects and not parsed.names:
        selected = sum(1 for _ in opened.ids(parsed.domain, parsed.where))
        confirm(f"delete {selected:,} items?", yes=yes)
    show_line({"deleted": opened.delete(**request)}, as_json=as_json)


def get(
    item_id: Annotated[list[str], typer.Argument(metavar="ID...", help="Item ids.")],
    space: SpaceOption,
    as_json: JsonOption = False,
) -> None:
    """Show one item, or several."""
    items = open_space(space).get(item_id)
    if as_json:
        say_json(items if len(items) > 1 else items[0])
        return
    for item in items:
        show_item(item)


@generate_options
def ids(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(FilterOptions)],
    as_json: JsonOption = False,
) -> None:
    """List the ids of items, one a line."""
    selected = open_space(space).ids(**request)
    if as_json:
        say_json(list(selected))
        return
    for item_id in selected:
        say(item_id)


@generate_options
def scroll(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(ScrollRequest, omit=("attributes",))],
    as_json: JsonOption = False,
) -> None:
    """Show items in the order of their ids, a page at a time."""
    page = open_space(space).scroll(**request)
    if as_json:
        say_json(page.as_dict())
        return
    for item in page:
        show_item(item)
    if page.cursor is not None:
        say(f"more with: --cursor {page.cursor}")


@generate_options
def count(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(FilterOptions)],
    as_json: JsonOption = False,
) -> None:
    """Count searchable items."""
    show_line({"count": open_space(space).count(**request)}, as_json=as_json)


@generate_options
def export(
    space: SpaceOption,
    vectors: Annotated[
        Path, typer.Option("--vectors", help="File to write: .parquet, .npy (one name) or .lance.")
    ],
    request: Annotated[Values, OptionsOf(VectorsRequest)],
    as_json: JsonOption = False,
) -> None:
    """Write the vectors of items, with their ids and domains, for other programs."""
    from isthmus.operations.vectors import export_vectors

    report = export_vectors(open_space(space).opened, vectors, VectorsRequest(**request))
    show_line({**asdict(report), "names": ",".join(report.names)}, as_json=as_json)


def quarantine(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List what could not be embedded."""
    show_quarantine(open_space(space).quarantine(), as_json=as_json)


def retry_quarantine(
    space: SpaceOption,
    http: Annotated[bool, typer.Option("--http", help="Fetch http(s) addresses.")] = False,
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Encode again what could not be embedded."""
    opened = open_space(space, device=device, wait_s=wait_s)
    show_report(opened.retry_quarantine(http=http).as_dict(), as_json=as_json)


def alignment_of(request: Values) -> Values:
    """Return a request whose alignment ``none`` is None.

    Examples
    --------
    >>> alignment_of({"alignment": "none"}), alignment_of({"alignment": "auto"})
    ({'alignment': None}, {'alignment': 'auto'})
    """
    return {**request, "alignment": None} if request.get("alignment") == "none" else request
