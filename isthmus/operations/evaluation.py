"""Evaluate the recommendations of a space on its own interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import ItemVectors
from isthmus.evaluation.space_systems import scenario_system, space_systems_of
from isthmus.index.open_space import OpenSpace
from isthmus.operations.scenarios import scenario_options
from isthmus.retrieval.search.examples import item_vectors
from isthmus.retrieval.search.scenarios import Scenarios
from isthmus.schema import DOMAIN, ITEM_ID, MODALITY_MASK, USER_ID, contents_in

if TYPE_CHECKING:
    from isthmus.evaluation.run import EvaluationData
    from isthmus.evaluation.systems import System

MAX_SEGMENT_VALUES = 50  # of an attribute by which users are grouped


def evaluation_data(
    space: OpenSpace,
    systems: Mapping[str, System],
    names: Sequence[str] | None = None,
    scenarios: Sequence[str] | None = None,
) -> EvaluationData:
    """Return what an evaluation needs of a space, all from one view.

    Parameters
    ----------
    space : OpenSpace
        The space.
    systems : mapping of str to System
        Systems beside those of the space.
    names : sequence of str, optional
        Which systems of the space take part; by default all.
    scenarios : sequence of str, optional
        Scenarios whose rules are measured against the recommender without them, which takes part
        then.

    Raises
    ------
    InvalidInput
        If the space has no such system, or no such scenario.
    """
    from isthmus.evaluation.run import EvaluationData

    view = space.view()
    id_column = view.snapshot.column(ITEM_ID).combine_chunks()
    item_ids = id_column.to_pylist()
    domains = dict(zip(item_ids, view.snapshot.column(DOMAIN).to_pylist(), strict=True))
    table = space.interactions.table()
    in_catalog = pc.is_in(table.column(ITEM_ID), value_set=id_column.cast(pa.string()))
    masks = view.snapshot.column(MODALITY_MASK).to_pylist()
    contents = ItemVectors(
        item_ids,
        item_vectors(view, view.find(item_ids), space.vector_weights),
        [" and ".join(contents_in(mask)) or "none" for mask in masks],
    )
    users = space.users.table()
    stored = Scenarios(space.path)
    rules = {name: scenario_options(space, name, stored.get(name)) for name in scenarios or ()}
    attributes = users if len(users) else None
    available = space_systems_of(view, space.vector_weights, attributes, rules)
    variants = {scenario_system(name): "isthmus" for name in rules}
    if names is not None and variants:
        names = [*names, "isthmus", *variants]
    for name in names or ():
        if name not in available:
            raise InvalidInput(f"the space has no system {name!r}; it has {', '.join(available)}")
    chosen = {name: s for name, s in available.items() if names is None or name in names}
    return EvaluationData(
        table.filter(in_catalog),
        domains,
        contents,
        {**chosen, **systems},
        _segments(users),
        variants,
    )


def _segments(users: pa.Table) -> dict[str, dict[str, str]]:
    """Return the value of each user for every attribute that has few values."""
    segments: dict[str, dict[str, str]] = {}
    for name in users.column_names:
        values = users.column(name)
        kinds = pa.types.is_nested(values.type) or pa.types.is_floating(values.type)
        if name == USER_ID or kinds or pc.count_distinct(values).as_py() > MAX_SEGMENT_VALUES:
            continue
        pairs = zip(users.column(USER_ID).to_pylist(), values.to_pylist(), strict=True)
        segments[name] = {user: str(value) for user, value in pairs if value is not None}
    return segments
