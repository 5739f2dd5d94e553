"""What a space holds, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from isthmus.index.growth import assess
from isthmus.index.recall import QueriesOf
from isthmus.index.settings import SpaceSettings
from isthmus.index.view import View


def describe(view: View, settings: SpaceSettings, queries_of: QueriesOf) -> dict[str, Any]:
    """Describe a space: items, domains, attributes, release, delta and encoders.

    Returns
    -------
    dict
        ``items`` counts the catalog, ``searchable`` those with a vector, ``delta`` those newer
        than the release; ``index`` has for each block what `isthmus.index.growth.Health` says;
        ``aligned`` tells whether all modalities meet in one block.
    """
    release = view.release.manifest if view.release else None
    return {
        "items": view.snapshot.rows,
        "searchable": len(view),
        "domains": view.domains,
        "attributes": {f.name: str(f.type) for f in view.snapshot.attributes},
        "release": release.number if release else None,
        "release_items": release.rows if release else 0,
        "release_recall": release.worst_recall if release else None,
        "delta": view.delta,
        "index": {n: asdict(h) for n, h in assess(view, settings.index, queries_of).items()},
        "catalog_version": view.snapshot.version,
        "encoders": dict(settings.encoders),
        "blocks": {b.name: {"dim": b.dim, "modalities": b.modalities} for b in view.blocks},
        "aligned": len(view.blocks) == 1,
    }
