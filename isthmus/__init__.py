"""Isthmus joins separate catalogues into one vector space and recommends across them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.client.connect import connect, connect_async
    from isthmus.encoders.encoder import Encoder
    from isthmus.encoders.registry import load_encoder
    from isthmus.encoders.training.distillation.distill import distill
    from isthmus.encoders.training.distillation.report import DistillReport
    from isthmus.encoders.training.finetuning.finetune import finetune
    from isthmus.encoders.training.finetuning.quality import OtherDomain
    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.encoders.training.settings import (
        AlignmentSettings,
        DistillSettings,
        FinetuneSettings,
    )
    from isthmus.errors import IsthmusError, IsthmusWarning
    from isthmus.evaluation.request import EvaluationPlan
    from isthmus.operations.restore import backups, restore
    from isthmus.retrieval.recommend.experiments import Experiment
    from isthmus.retrieval.recommend.request import TrainSettings
    from isthmus.retrieval.recommend.users import Interaction, User
    from isthmus.retrieval.search.results import BatchResults, Hit, Hits
    from isthmus.space import Space

__version__ = "0.1.0"
__all__ = [
    "AlignmentSettings",
    "BatchResults",
    "DistillReport",
    "DistillSettings",
    "Encoder",
    "EvaluationPlan",
    "Experiment",
    "FinetuneReport",
    "FinetuneSettings",
    "Hit",
    "Hits",
    "Interaction",
    "IsthmusError",
    "IsthmusWarning",
    "OtherDomain",
    "Space",
    "TrainSettings",
    "User",
    "__version__",
    "backups",
    "connect",
    "connect_async",
    "distill",
    "finetune",
    "load_encoder",
    "restore",
]

_HOMES = {
    "AlignmentSettings": "isthmus.encoders.training.settings",
    "DistillReport": "isthmus.encoders.training.distillation.report",
    "DistillSettings": "isthmus.encoders.training.settings",
    "Encoder": "isthmus.encoders.encoder",
    "EvaluationPlan": "isthmus.evaluation.request",
    "FinetuneReport": "isthmus.encoders.training.finetuning.report",
    "FinetuneSettings": "isthmus.encoders.training.settings",
    "BatchResults": "isthmus.retrieval.search.results",
    "Hit": "isthmus.retrieval.search.results",
    "Hits": "isthmus.retrieval.search.results",
    "Experiment": "isthmus.retrieval.recommend.experiments",
    "Interaction": "isthmus.retrieval.recommend.users",
    "IsthmusError": "isthmus.errors",
    "IsthmusWarning": "isthmus.errors",
    "OtherDomain": "isthmus.encoders.training.finetuning.quality",
    "Space": "isthmus.space",
    "TrainSettings": "isthmus.retrieval.recommend.request",
    "User": "isthmus.retrieval.recommend.users",
    "backups": "isthmus.operations.restore",
    "connect": "isthmus.client.connect",
    "connect_async": "isthmus.client.connect",
    "distill": "isthmus.encoders.training.distillation.distill",
    "finetune": "isthmus.encoders.training.finetuning.finetune",
    "load_encoder": "isthmus.encoders.registry",
    "restore": "isthmus.operations.restore",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: PyTorch and Lance take seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
