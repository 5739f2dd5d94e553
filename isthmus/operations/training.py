"""Train the recommender of a space."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.ratings import (
    RatingData,
    latest_ratings,
    rated_events,
    with_unit_weights,
)
from isthmus.digests import digest
from isthmus.durable import make_folder
from isthmus.errors import FingerprintMismatch, command_in
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.operations.private_training import require_private_request, train_private
from isthmus.retrieval.recommend.request import TrainRequest, TrainSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings, recommender_settings
from isthmus.retrieval.recommend.space_data import space_interactions, space_training_data
from isthmus.retrieval.recommend.store import (
    Description,
    encoders_of,
    published_rankers,
    save_recommender,
    trained_folder,
)
from isthmus.retrieval.recommend.train import train_recommender
from isthmus.schema import TRAINING_FOLDER


def train(
    space: OpenSpace,
    request: TrainRequest,
    settings: TrainSettings | RecommenderSettings | None = None,
    *,
    progress: bool = False,
) -> Description:
    """Train candidate generators and rankers on the stored interactions."""
    if not isinstance(settings, RecommenderSettings):
        settings = recommender_settings(settings or TrainSettings())
    require_private_request(request, settings)
    extent = space.interactions.extent()
    interactions, feedback = space.training_interactions(
        request.positive_from, request.event_weights, request.half_life_days
    )
    view = space.view()
    with write_lock(space.path, "training", space.wait_s):
        work = _work_folder(space, settings, request, feedback)
        users = space.users.table()
        data = space_training_data(
            view, space.vector_weights, interactions, feedback=feedback, users=users
        )
        if request.private:
            trained = train_private(space, request, settings, data, feedback, progress=progress)
        else:
            start_from = request.start_from
            trained = train_recommender(
                data,
                settings,
                request.targets,
                feedback=feedback,
                rated=_ratings(view, interactions, feedback),
                pretrained=None if start_from is None else published_rankers(start_from),
                pretrain_on=_pretraining(request.targets or view.domains, request.pretrain),
                folder=work,
                show=progress,
            )
        _require_same_encoders(space)
        description = save_recommender(
            trained_folder(space.path),
            trained,
            settings,
            len(data.interactions),
            encoders_of(space.settings),
            extent,
        )
        shutil.rmtree(work)
    return description


def _ratings(view: View, interactions: pa.Table, feedback: Feedback) -> RatingData:
    events = tuple(event for event in rated_events(interactions) if not feedback.rule(event).amount)
    ratings = with_unit_weights(latest_ratings(interactions, events))
    return RatingData(events, space_interactions(view, ratings))


def _require_same_encoders(space: OpenSpace) -> None:
    """Refuse to store what was trained on vectors that the space does not have any more."""
    stored = SpaceSettings.read(space.path)
    for modality in space.settings.encoders:
        if stored.encoder_fingerprint(modality) != space.settings.encoder_fingerprint(modality):
            raise FingerprintMismatch(
                f"{space.path} got another {modality} encoder while it was trained on the "
                f"vectors of the former; train anew with: {command_in(space.path, 'train')}"
            )


def _work_folder(space: OpenSpace, *arguments: object) -> Path:
    """Return the folder of a training's checkpoints, and remove those of other trainings."""
    versions = space.catalog.snapshot().version, space.interactions.version, space.users.version
    state = (versions, arguments)
    work = space.path / TRAINING_FOLDER / digest(repr(state)).hex()
    for other in (space.path / TRAINING_FOLDER).glob("*"):
        if other not in (work, trained_folder(space.path)):
            shutil.rmtree(other, ignore_errors=True)
    return make_folder(work)


def _pretraining(
    targets: Sequence[str] | Mapping[str, int], pretrain: Sequence[str] | None
) -> dict[str, Sequence[str]] | None:
    if pretrain is None:
        return None
    return {target: [name for name in pretrain if name != target] for target in targets}
