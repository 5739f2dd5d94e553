"""Fine-tuning: an encoder learns what goes together in a domain, and forgets little elsewhere."""

from isthmus.encoders.training.finetuning.finetune import finetune
from isthmus.encoders.training.finetuning.quality import OtherDomain
from isthmus.encoders.training.finetuning.report import FinetuneReport
from isthmus.encoders.training.finetuning.settings import FinetuneSettings

__all__ = ["FinetuneReport", "FinetuneSettings", "OtherDomain", "finetune"]
