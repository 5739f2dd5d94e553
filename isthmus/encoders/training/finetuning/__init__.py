"""Fine-tuning of encoders on pairs of a domain, with little forgetting in other domains."""

from isthmus.encoders.training.finetuning.finetune import finetune
from isthmus.encoders.training.finetuning.quality import OtherDomain
from isthmus.encoders.training.finetuning.report import FinetuneReport
from isthmus.encoders.training.finetuning.settings import FinetuneSettings

__all__ = ["FinetuneReport", "FinetuneSettings", "OtherDomain", "finetune"]
