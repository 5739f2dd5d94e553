"""Isthmus joins separate catalogues into one vector space and recommends across them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.encoders.alignment.settings import AlignmentSettings
    from isthmus.encoders.distillation.distill import distill
    from isthmus.encoders.distillation.report import DistillReport
    from isthmus.encoders.distillation.settings import DistillSettings
    from isthmus.encoders.encoder import Encoder
    from isthmus.encoders.finetuning.elsewhere import OtherDomain
    from isthmus.encoders.finetuning.finetune import finetune
    from isthmus.encoders.finetuning.report import FinetuneReport
    from isthmus.encoders.finetuning.settings import FinetuneSettings
    from isthmus.encoders.registry import load_encoder
    from isthmus.errors import IsthmusError
    from isthmus.retrieval.evaluation.plan import EvaluationPlan
    from isthmus.retrieval.results import Found, Hit
    from isthmus.retrieval.space import Space
    from isthmus.retrieval.users import Interaction, User

__version__ = "0.1.0"
__all__ = [
    "AlignmentSettings",
    "DistillReport",
    "DistillSettings",
    "Encoder",
    "EvaluationPlan",
    "FinetuneReport",
    "FinetuneSettings",
    "Found",
    "Hit",
    "Interaction",
    "IsthmusError",
    "OtherDomain",
    "Space",
    "User",
    "__version__",
    "distill",
    "finetune",
    "load_encoder",
]

_HOMES = {
    "AlignmentSettings": "isthmus.encoders.alignment.settings",
    "DistillReport": "isthmus.encoders.distillation.report",
    "DistillSettings": "isthmus.encoders.distillation.settings",
    "Encoder": "isthmus.encoders.encoder",
    "EvaluationPlan": "isthmus.retrieval.evaluation.plan",
    "FinetuneReport": "isthmus.encoders.finetuning.report",
    "FinetuneSettings": "isthmus.encoders.finetuning.settings",
    "Found": "isthmus.retrieval.results",
    "Hit": "isthmus.retrieval.results",
    "Interaction": "isthmus.retrieval.users",
    "IsthmusError": "isthmus.errors",
    "OtherDomain": "isthmus.encoders.finetuning.elsewhere",
    "Space": "isthmus.retrieval.space",
    "User": "isthmus.retrieval.users",
    "distill": "isthmus.encoders.distillation.distill",
    "finetune": "isthmus.encoders.finetuning.finetune",
    "load_encoder": "isthmus.encoders.registry",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: PyTorch and Lance take seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
