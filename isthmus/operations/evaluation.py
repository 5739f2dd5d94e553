"""Evaluate the recommendations of a space on its own interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import ItemVectors
from isthmus.evaluation.space_systems import space_systems_of
from isthmus.index.open_space import OpenSpace
from isthmus.retrieval.search.examples import item_vectors
from isthmus.schema import DOMAIN, ITEM_ID, MODALITY_MASK, contents_in

if TYPE_CHECKING:
    from isthmus.evaluation.run import EvaluationData
    from isthmus.evaluation.systems import System


def evaluation_data(
    space: OpenSpace, systems: Mapping[str, System], names: Sequence[str] | None = None
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

    Raises
    ------
    InvalidInput
        If the space has no such system.
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
    available = space_systems_of(view, space.vector_weights)
    for name in names or ():
        if name not in available:
            raise InvalidInput(f"the space has no system {name!r}; it has {', '.join(available)}")
    chosen = {name: s for name, s in available.items() if names is None or name in names}
    return EvaluationData(table.filter(in_catalog), domains, contents, {**chosen, **systems})
