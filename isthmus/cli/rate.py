"""Predict what a user would give items."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import JsonOption, SpaceOption


def rate(
    items: Annotated[list[str], typer.Argument(help="Items to predict the rating of.")],
    space: SpaceOption,
    user: Annotated[
        str | None, typer.Option(help="Id of a user whose ratings are stored; default: nobody.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the ratings that a user would give items."""
    from isthmus.cli.show import print_table, show_json, table_of
    from isthmus.cli.strangers import tell_of_stranger
    from isthmus.retrieval.recommend.users import User

    opened = open_space(space)
    tell_of_stranger(opened, user)
    found = opened.predict_ratings(User(id=user), items).tolist()
    if as_json:
        show_json([{"item_id": i, "rating": r} for i, r in zip(items, found, strict=True)])
        return
    table = table_of("item", "rating")
    for item, rating in zip(items, found, strict=True):
        table.add_row(item, f"{rating:.2f}")
    print_table(table)
