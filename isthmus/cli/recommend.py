"""Recommend items to users."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import (
    CandidatesOption,
    DeviceOption,
    DiversityOption,
    DomainsOption,
    JsonOption,
    KOption,
    QuotaOption,
    SheetOption,
    SpaceOption,
    WhereOption,
)
from isthmus.cli.unused import refuse_given


def recommend(
    context: typer.Context,
    space: SpaceOption,
    history: Annotated[
        list[str] | None, typer.Option(help="Item the user knows, oldest first; repeat it.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What the user likes, in words.")] = None,
    user: Annotated[
        str | None, typer.Option(help="Id of a user whose interactions are stored.")
    ] = None,
    click: Annotated[
        list[str] | None, typer.Option(help="Item just looked at, oldest first; repeat it.")
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            help="Parquet, JSON lines or CSV: user_id, optionally history, clicks, ratings and "
            "text; stored interactions count."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet to write, with --users.")] = None,
    domain: DomainsOption = None,
    k: KOption = 10,
    where: WhereOption = None,
    diversity: DiversityOption = 0.0,
    candidates: CandidatesOption = None,
    quota: QuotaOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each is there.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that answer, with --users; by default one a core."),
    ] = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend items to one user, or to a file of users."""
    from isthmus.cli.quotas import parse_quotas
    from isthmus.cli.show import show_hits, show_line
    from isthmus.cli.show_training import show_reasons
    from isthmus.cli.strangers import tell_of_stranger
    from isthmus.retrieval.recommend.users import User

    if (users is None) != (out is None):
        raise typer.BadParameter("--users and --out go together")
    if users is None:
        refuse_given(context, "is for --users", "processes")
    else:
        one = ("user", "history", "click", "text", "explain", "sheet")
        refuse_given(context, "is for one user, not for --users", *one)
    opened = open_space(space, device=device)
    options: dict[str, Any] = {
        "k": k,
        "domain": domain,
        "where": where,
        "diversity": diversity,
        "num_candidates": candidates,
        "quotas": parse_quotas(quota),
    }
    if users is not None and out is not None:
        from isthmus.numerics.processes import cores
        from isthmus.retrieval.recommend.users import recommend_file

        recommend_batch = partial(
            opened.recommend_batch, **options, processes=processes or cores(), progress=True
        )
        counts = recommend_file(recommend_batch, users, out)
        show_line({**counts, "out": str(out)}, as_json=as_json)
        return
    known = [item_id for item_id in history or [] if opened.get(item_id)]
    clicks = [item_id for item_id in click or [] if opened.get(item_id)]
    tell_of_stranger(opened, user)
    who = User(known, text, id=user, clicks=clicks)
    hits = opened.recommend(who, **options, attributes=True, explain=explain)
    asked = text or user or ", ".join([*known, *clicks])
    show_hits(opened, asked, None, hits, sheet, as_json=as_json)
    if explain and not as_json:
        show_reasons(hits)
