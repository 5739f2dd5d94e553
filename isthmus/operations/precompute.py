"""Precompute: what models of the second stage make of the contents of items, stored once."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from isthmus.encoders.registry import load_second_stage, parse_spec
from isthmus.errors import InvalidInput
from isthmus.index.catalog.lock import SWITCHING_LOCK, write_lock
from isthmus.index.catalog.precomputed import (
    PrecomputedModel,
    count_missing,
    encode_missing,
    open_records,
    read_models,
    write_models,
)
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import PrecomputeRequest
from isthmus.progress import progress_bar
from isthmus.retrieval.search.second_stage import PRECOMPUTED


@dataclass(frozen=True)
class PrecomputeReport:
    """What was computed.

    Attributes
    ----------
    model : str
        Spec of the model.
    modality : str
        What it reads of an item.
    contents : int
        Distinct contents whose records are stored now, former ones included.
    encoded : int
        Contents that went through the model.
    failed : int
        Pictures that could not be decoded.
    seconds : float
        Duration.
    """

    model: str
    modality: str
    contents: int
    encoded: int
    failed: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def precompute(
    space: OpenSpace, request: PrecomputeRequest, *, progress: bool = False
) -> PrecomputeReport:
    """Encode the contents of all items by a model, those that are not stored; see `Space`."""
    family = parse_spec(request.model).family
    if family not in PRECOMPUTED:
        raise InvalidInput(
            f"nothing can be precomputed by {request.model!r}; give "
            f"{' or '.join(f'{name}/NAME_OR_FOLDER' for name in PRECOMPUTED)}"
        )
    model = load_second_stage(request.model, device=space.model_device)
    return precompute_by(space, model, progress=progress)


def precompute_by(space: OpenSpace, model: Any, *, progress: bool = False) -> PrecomputeReport:
    """Encode the contents of all items by a loaded model, those that are not stored.

    The records come before the file that names the model, so whoever reads the file finds them.
    """
    started = time.monotonic()
    family = parse_spec(model.spec).family
    with write_lock(space.path, SWITCHING_LOCK, space.wait_s):
        cache, snapshot = open_records(space.path, model), space.catalog.snapshot()
        before, missing = len(cache), count_missing(snapshot, model.modality, cache)
        with progress_bar(f"encoding {model.modality}", missing, show=progress) as advance:
            failed = encode_missing(snapshot, model, cache, space.media(), advance)
        entry = PrecomputedModel(model.spec, model.fingerprint)
        models = read_models(space.path)
        if models.get(family) != entry:
            write_models(space.path, {**models, family: entry})
    return PrecomputeReport(
        model=model.spec,
        modality=model.modality,
        contents=len(cache),
        encoded=len(cache) - before,
        failed=len(failed),
        seconds=time.monotonic() - started,
    )
