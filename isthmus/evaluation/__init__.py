"""How good recommendations are: tasks with hidden truth, metrics, statistics, baselines, reports.

Nothing here knows how a list was made. A system takes a `Task` and returns `Lists`; everything else
follows from the lists and what the task hides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.lazy import lazy_modules

if TYPE_CHECKING:
    from isthmus.evaluation import logged as logged
    from isthmus.evaluation import request as request

__getattr__ = lazy_modules(__name__)
