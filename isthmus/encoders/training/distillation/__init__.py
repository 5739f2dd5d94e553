"""Distillation: small, fast encoders that learn the vectors of large ones."""

from isthmus.encoders.training.distillation.distill import distill
from isthmus.encoders.training.distillation.report import DistillReport
from isthmus.encoders.training.distillation.settings import DistillSettings

__all__ = ["DistillReport", "DistillSettings", "distill"]
