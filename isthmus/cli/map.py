"""Draw a space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import DomainsOption, JsonOption, SpaceOption, WhereOption


def map_space(
    space: SpaceOption,
    out: Annotated[Path, typer.Option(help="Picture to draw: PNG, SVG or PDF.")] = Path("map.png"),
    table: Annotated[Path | None, typer.Option(help="Parquet to write the points into.")] = None,
    domain: DomainsOption = None,
    where: WhereOption = None,
    vector_name: Annotated[str | None, typer.Option(help="Block to draw, such as text.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most items to draw.")] = 5_000,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw the items by domain and modality, near what they are like (UMAP)."""
    from isthmus.cli.show import show_line
    from isthmus.data.files import write_parquet

    drawn = open_space(space).map(
        domain=domain, where=where, vector_name=vector_name, limit=limit, seed=seed
    )
    drawn.save(out)
    if table is not None:
        write_parquet(drawn.table(), table)
    counts = {
        "vector_name": drawn.vector_name,
        "items": len(set(drawn.item_ids)),
        "points": len(drawn),
    }
    show_line({**counts, "out": str(out)}, as_json=as_json)
