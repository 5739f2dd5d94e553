"""Groups: the best items of each value of an attribute, from one ranked list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from isthmus.index.releases.view import View
from isthmus.retrieval.search.facets import require_attribute
from isthmus.retrieval.search.request import SearchGroupsRequest, SearchRequest
from isthmus.retrieval.search.results import Group, Groups, Hit, Hits
from isthmus.schema import DOMAIN

FIRST_DEPTH: Final = 4  # times the places of all groups
MAX_DEPTH: Final = 10_000
OF_GROUPS: Final = ("by", "group_size")


def search_groups(
    view: View, request: SearchGroupsRequest, search: Callable[[SearchRequest], Hits]
) -> Groups:
    """Group the hits of a search by the value of an attribute.

    The list is made longer until it ends, or has all groups and these are full; at most 10,000
    places are looked at.

    Parameters
    ----------
    view : View
        What is searched.
    request : SearchGroupsRequest
        The request.
    search : callable
        Answers a search.
    """
    require_attribute(view.snapshot.attributes, request.by)
    n_groups = request.offset + (request.k or 1)
    depth = min(FIRST_DEPTH * n_groups * request.group_size, MAX_DEPTH)
    while True:
        hits = search(_flat(request, depth))
        groups = _grouped(hits, request.by, request.group_size)
        chosen = dict(list(groups.items())[:n_groups])
        full = len(chosen) == n_groups and all(
            len(g) == request.group_size for g in chosen.values()
        )
        if full or len(hits) < depth or depth == MAX_DEPTH:
            break
        depth = min(depth * 4, MAX_DEPTH)
    kept = list(chosen.items())[request.offset :]
    shown = [
        Group(value, tuple(hit if request.attributes else _bare(hit) for hit in of_value))
        for (_, value), of_value in kept
    ]
    return Groups(shown, hits.notes, hits.release)


def _flat(request: SearchGroupsRequest, depth: int) -> SearchRequest:
    """Return the search for one list of a length."""
    given = {name: getattr(request, name) for name in request.model_fields_set}
    for name in OF_GROUPS:
        given.pop(name, None)
    if request.rerank is not None:
        depth = min(depth, request.rerank_depth)
    return SearchRequest(**given | {"k": depth, "offset": 0, "attributes": True})


def _grouped(hits: Hits, by: str, size: int) -> dict[tuple[str, Any], list[Hit]]:
    groups: dict[tuple[str, Any], list[Hit]] = {}
    for hit in hits:
        value = hit.domain if by == DOMAIN else hit.attributes.get(by)
        for one in dict.fromkeys(value) if isinstance(value, list) else [value]:
            if one is not None:
                group = groups.setdefault((type(one).__name__, one), [])
                if len(group) < size:
                    group.append(hit)
    return groups


def _bare(hit: Hit) -> Hit:
    return replace(hit, text=None, image=None, audio=None, attributes={})
