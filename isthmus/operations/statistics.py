"""The statistics of a space: items, interactions, release, index, encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow.compute as pc

from isthmus.data.interactions.store import InteractionStore
from isthmus.data.types import type_name
from isthmus.encoders.prompts import INSTRUCTION
from isthmus.encoders.registry import parse_spec
from isthmus.encoders.stack import NamedVector
from isthmus.errors import CorruptAlignment, CorruptRelease, CorruptTable, InvalidInput
from isthmus.index.catalog.precomputed import describe_records
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.growth import assess
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval import recommend
from isthmus.retrieval.search.recall_queries import PROMPTS, RecallQuerySampler
from isthmus.schema import EVENT, ITEM_ID, TEXT, USER_ID

SECONDS_PER_DAY = 86_400


def describe_space(space: OpenSpace) -> dict[str, Any]:
    """Describe a space: items, domains, attributes, release, delta and encoders.

    Returns
    -------
    dict
        ``items`` counts the catalog, ``searchable`` those with a vector, ``delta`` those newer
        than the release; ``index`` has for each named vector an `index.releases.growth.Health`;
        ``aligned`` says whether all modalities meet in some named vector, and ``alignment`` is the
        fingerprint of the learned alignment, if there is one. ``second_stage`` has the models that
        items were precomputed by, see `describe_records`. ``recommender`` says the age of the
        recommender, and how many items and events it has not seen.
    """
    view, settings = space.view(), space.settings
    queries = RecallQuerySampler(space.path, settings)
    everything = set(settings.encoders)
    release = view.release.manifest if view.release else None
    damage: list[str] = []
    readable = partial(read_or_note, damage)
    return {
        "items": view.snapshot.rows,
        "searchable": len(view),
        "domains": view.domains,
        "attributes": _types_of_attributes(view.snapshot),
        "release": release.number if release else None,
        "release_items": release.rows if release else 0,
        "release_recall": release.worst_recall if release else None,
        "delta": view.delta,
        "index": readable(
            lambda: {n: asdict(h) for n, h in assess(view, settings.index, queries).items()}
        ),
        "catalog_version": view.snapshot.version,
        "encoders": dict(settings.encoders),
        "prompts": _prompts(settings),
        "named_vectors": {v.name: _describe_vector(v) for v in view.named_vectors},
        "aligned": bool(everything)
        and any(everything <= {*v.modalities} for v in view.named_vectors),
        "alignment": settings.alignment or None,
        "path": str(space.path),
        "fingerprint": space.fingerprint,
        "quarantined": readable(lambda: len(space.quarantine)),
        "interactions": readable(lambda: count_interactions(space.interactions, view.snapshot)),
        "second_stage": readable(lambda: describe_records(space.path, view.snapshot)),
        "recommender": readable(lambda: describe_recommender(view, space.interactions)),
        "damage": damage,
    }


def _prompts(settings: SpaceSettings) -> dict[str, str]:
    """Return what precedes texts of each role, where their encoder has prompts.

    A given prompt of queries with a place for an instruction is shown as it was given.
    """
    prompts = {
        name.removeprefix(PROMPTS): prompt
        for name, prompt in settings.encoder_components(TEXT).items()
        if name.startswith(PROMPTS)
    }
    spec = settings.encoders.get(TEXT)
    given = parse_spec(spec).options.get("query_prompt", "") if spec else ""
    return {"query": given, **prompts} if INSTRUCTION in given else prompts


def read_or_note(damage: list[str], read: Callable[[], Any]) -> Any:
    """Return what can be read; None where it is damaged, and add the reason to a list."""
    try:
        return read()
    except (CorruptRelease, CorruptTable, CorruptAlignment, InvalidInput) as error:
        if str(error) not in damage:
            damage.append(str(error))
        return None


def _describe_vector(vector: NamedVector) -> dict[str, Any]:
    described: dict[str, Any] = {"dim": vector.dim, "modalities": vector.modalities}
    return described | {"given": True} if vector.given else described


def _types_of_attributes(snapshot: Snapshot) -> dict[str, str]:
    """Return the type of each attribute; where it differs, with the domains of each type."""
    attributes = snapshot.attributes
    domains: dict[str, dict[str, list[str]]] = {name: {} for name in attributes.names}
    for domain, types in attributes.types().items():
        for name, type_ in types.items():
            domains[name].setdefault(type_name(type_), []).append(domain)
    return {
        name: next(iter(by_type))
        if len(by_type) == 1
        else "; ".join(f"{type_} in {', '.join(found)}" for type_, found in by_type.items())
        for name, by_type in domains.items()
    }


def describe_recommender(view: View, store: InteractionStore) -> dict[str, Any] | None:
    """Describe the recommender of the release: its age, and what it has not seen.

    Returns
    -------
    dict or None
        ``trained`` (when), ``age_days``, the ``domains`` with a ranker, and how many items
        (``unseen_items``) and events (``unseen_events``) are newer than the training, and how many
        of the events of then are deleted by now (``deleted_events``), such as those of users who
        were forgotten; ``privacy`` is the guarantee of a private training. None without a
        recommender.
    """
    if view.release is None:
        return None
    published = recommend.store.published_description(view.release)
    if published is None:
        return None
    description, learned = published
    age = datetime.now(UTC) - datetime.fromisoformat(description.created)
    known = int((view.find(learned.to_pylist()) >= 0).sum())
    return {
        "trained": description.created,
        "age_days": round(max(age.total_seconds(), 0.0) / SECONDS_PER_DAY, 2),
        "domains": list(description.rankers),
        "unseen_items": len(view) - known,
        "unseen_events": store.added_after(description.last_added),
        "deleted_events": store.deleted_since(description.extent),
        "privacy": None if description.privacy is None else description.privacy.model_dump(),
    }


def count_interactions(store: InteractionStore, catalog: Snapshot) -> dict[str, int]:
    """Count interactions, and those that wait for an item that the catalog does not hold.

    Returns
    -------
    dict of str to int
        ``rows``, ``users`` and ``items`` of all interactions, ``events`` the kinds of event, and
        ``waiting`` and ``waiting_items`` the interactions and items that do not count yet.
    """
    users = pc.count_distinct(store.table(USER_ID).column(USER_ID)).as_py()
    events = pc.count_distinct(store.table(EVENT).column(EVENT)).as_py()
    items = pc.value_counts(store.table(ITEM_ID).column(ITEM_ID))
    names, times = items.field("values"), items.field("counts")
    waiting = times.filter(pc.invert(catalog.contains(names)))
    return {
        "rows": pc.sum(times, min_count=0).as_py(),
        "users": users,
        "items": len(names),
        "events": events,
        "waiting": pc.sum(waiting, min_count=0).as_py(),
        "waiting_items": len(waiting),
    }
