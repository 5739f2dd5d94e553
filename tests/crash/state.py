"""What a space holds, as plain values that can be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import Space, User
from isthmus.digests import digest_file
from isthmus.durable import PART, REMOVING
from isthmus.encoders.encoder import Encoder
from isthmus.index.catalog.precomputed import read_models, stored_records
from isthmus.index.releases.release import BUILDING, Releases
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.store import CHECKSUMS, DESCRIPTION, parts_folder, trained_folder
from isthmus.schema import ITEM_ID, MEDIA_FOLDER, USER_ID, VECTORS_FILE, Modality
from tests.toy import ToyEncoder, ToyRecords, joint_encoder, two_encoders

State = dict[str, dict[str, Any]]
SECTIONS = (
    "items",
    "vectors",
    "quarantine",
    "interactions",
    "recommendations",
    "scenarios",
    "users",
    "settings",
    "precomputed",
    "trained",
    "release",
)

DECIMALS = 4
# Of a recommender and of a release: what differs between two runs that do the same.
UNSTEADY = (
    "created",
    "seconds",
    "stages",
    "built_s",
    "number",
    "files",
    "catalog_version",
    "plans",
)
TEMPORARY = (f"{BUILDING}*", f"{REMOVING}*", VECTORS_FILE, ".never-current")


def encoders_for(path: Path) -> dict[Modality, Encoder] | Encoder:
    """Return the toy encoders that a space was made with."""
    settings = SpaceSettings.read(path)
    if len(settings.layout) == 1 and len(settings.encoders) > 1:
        return joint_encoder()
    encoders = two_encoders()
    if settings.encoder_components("text")["salt"] == other_encoder().salt:
        encoders["text"] = other_encoder()
    return {modality: encoders[modality] for modality in settings.encoders}


def other_encoder() -> ToyEncoder:
    return ToyEncoder("text", dim=24, salt="other", spec="toy/other")


def open_space(path: Path) -> Space:
    return Space.open(path, encoder=encoders_for(path))


def answers(path: Path) -> dict[str, Any]:
    """Ask a space everything that it answers to readers."""
    space = open_space(path)
    status = space.status()
    hits = {text: rounded(space.search(text, k=5)) for text in ("red", "word3")}
    got = [hit for hit, _ in hits["red"][:1] if space.get(hit)]
    lists = rounded(space.recommend(User(id="u1"), k=5)) if status["searchable"] else []
    return {"hits": hits, "got": len(got), "lists": lists, "release": status["release"] is None}


def rounded(hits: Any) -> list[tuple[str, float]]:
    return [(hit.item_id, round(float(hit.score), DECIMALS)) for hit in hits]


def state_of(path: Path) -> State:
    """Return everything that a space holds, in sections of named values."""
    space = open_space(path)
    settings = space.settings
    snapshot = space.opened.catalog.snapshot()
    columns = [vector.column for vector in settings.layout]
    rows = snapshot._dataset.to_table(columns=[ITEM_ID, *columns]).to_pylist()
    vectors = {row.pop(ITEM_ID): row for row in rows}
    quarantine = space.quarantine()
    for failure in quarantine:
        del failure["last_tried"]
    interactions = space.opened.interactions.table().to_pylist()
    release = Releases(path).current()
    return {
        "items": {item[ITEM_ID]: _valued(item) for item in space.get(list(vectors))},
        "vectors": {i: {n: _rounded(v) for n, v in row.items()} for i, row in vectors.items()},
        "quarantine": {f"{row[ITEM_ID]} {row['modality']}": row for row in quarantine},
        "interactions": {str([*row.values()][:3]): row for row in interactions},
        "recommendations": {
            row["recommendation_id"]: row["item_id"] for row in space.recommendations().to_pylist()
        },
        "scenarios": space.scenarios(),
        "users": {user[USER_ID]: user for user in space.users(space.user_ids())},
        "settings": {
            "fingerprint": settings.fingerprint,
            "weights": dict(settings.weights),
            "fusion": _read_json(path / "fusion_weights.json"),
        },
        "precomputed": {
            family: {"spec": model.spec, "records": len(stored_records(path, ToyRecords()) or ())}
            for family, model in read_models(path).items()
        },
        "trained": {"recommender": _recommender(trained_folder(path))},
        "release": {"current": None if release is None else _release(release.folder)},
    }


def leftovers(place: Path, path: Path) -> list[str]:
    """Return files that a killed process left, and whose removal nobody else would see to.

    Parameters
    ----------
    place : Path
        The folder that holds the space.
    path : Path
        The space.
    """
    found = [p for pattern in TEMPORARY for p in path.rglob(pattern)]
    found += [*path.rglob(f".*{PART}"), *place.glob(f".{path.name}.*")]
    used = set(open_space(path).opened.catalog.vector_columns())
    named = {vector.column for vector in SpaceSettings.read(path).layout}
    return sorted(str(p.relative_to(place)) for p in found) + sorted(used - named)


def media_of(path: Path) -> list[str]:
    return sorted(p.name for p in (path / MEDIA_FOLDER).rglob("*") if p.is_file())


def between(state: State, before: State, after: State) -> list[str]:
    """Return what is neither as it was nor as it is going to be."""
    problems = []
    for section, values in state.items():
        for name in {*values, *before[section], *after[section]}:
            value = values.get(name)
            if value not in (before[section].get(name), after[section].get(name)):
                problems.append(f"{section} {name}: {value!r}")
    return problems


def differences(state: State, expected: State) -> list[str]:
    """Return what differs between two states."""
    return [
        f"{section} {name}: {values.get(name)!r}, expected {expected[section].get(name)!r}"
        for section, values in state.items()
        for name in sorted({*values, *expected[section]})
        if values.get(name) != expected[section].get(name)
    ]


def _valued(stored: dict[str, Any]) -> dict[str, Any]:
    """Leave out attributes without a value: a new attribute is there before its values."""
    attributes = {name: v for name, v in stored["attributes"].items() if v is not None}
    return {**stored, "attributes": attributes}


def _rounded(vector: list[float] | None) -> list[float] | None:
    return None if vector is None else np.round(vector, DECIMALS).tolist()


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _recommender(folder: Path) -> Any:
    if not (folder / DESCRIPTION).exists():
        return None
    description = json.loads((folder / DESCRIPTION).read_text())
    parts = parts_folder(folder)
    names = [p for p in parts.iterdir() if p.name not in (DESCRIPTION, CHECKSUMS)]
    digests = {p.name: digest_file(p).hex() for p in names}
    return _steady(description), digests


def _release(folder: Path) -> Any:
    manifest = Releases(folder.parent.parent).open(int(folder.name)).manifest.model_dump()
    rows = {p.name: digest_file(p).hex() for p in folder.glob("*.vectors.f32")}
    for values in manifest["named_vectors"].values():
        for name in ("queries_per_s", "p50_ms", "p99_ms", "build_s", "filter_costs"):
            values.pop(name, None)
    return _steady(manifest), rows, _recommender(folder / "recommender")


def _steady(value: Any) -> Any:
    """Leave out what differs between two runs, in mappings and in lists of them."""
    if isinstance(value, dict):
        return {name: _steady(one) for name, one in value.items() if name not in UNSTEADY}
    return [_steady(one) for one in value] if isinstance(value, list | tuple) else value
