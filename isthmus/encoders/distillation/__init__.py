"""Distillation: small, fast encoders that learn the vectors of large ones."""

from isthmus.encoders.distillation.distill import distill
from isthmus.encoders.distillation.report import DistillReport
from isthmus.encoders.distillation.settings import DistillSettings

__all__ = ["DistillReport", "DistillSettings", "distill"]
