"""Fine-tuning: an encoder learns what goes together in a domain, and forgets little elsewhere."""

from isthmus.encoders.finetuning.elsewhere import OtherDomain
from isthmus.encoders.finetuning.finetune import finetune
from isthmus.encoders.finetuning.report import FinetuneReport
from isthmus.encoders.finetuning.settings import FinetuneSettings

__all__ = ["FinetuneReport", "FinetuneSettings", "OtherDomain", "finetune"]
