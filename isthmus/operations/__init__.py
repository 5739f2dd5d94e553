"""The verbs of a space that tie several packages together, one file an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.lazy import lazy_modules

if TYPE_CHECKING:
    from isthmus.operations import alignment as alignment
    from isthmus.operations import attributes as attributes
    from isthmus.operations import backup as backup
    from isthmus.operations import erasure as erasure
    from isthmus.operations import evaluation as evaluation
    from isthmus.operations import events as events
    from isthmus.operations import finetuning as finetuning
    from isthmus.operations import forgetting as forgetting
    from isthmus.operations import fusion_weights as fusion_weights
    from isthmus.operations import interactions as interactions
    from isthmus.operations import items as items
    from isthmus.operations import log_evaluation as log_evaluation
    from isthmus.operations import monitoring as monitoring
    from isthmus.operations import precompute as precompute
    from isthmus.operations import publishing as publishing
    from isthmus.operations import recommendations as recommendations
    from isthmus.operations import reembedding as reembedding
    from isthmus.operations import scenarios as scenarios
    from isthmus.operations import scroll as scroll
    from isthmus.operations import statistics as statistics
    from isthmus.operations import training as training
    from isthmus.operations import user_export as user_export
    from isthmus.operations import users as users
    from isthmus.operations import vectors as vectors
    from isthmus.operations import verify as verify

__getattr__ = lazy_modules(__name__)
