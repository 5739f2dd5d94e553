"""Source domains: which other domains help to recommend from a target domain, and which hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.lazy import lazy_modules

if TYPE_CHECKING:
    from isthmus.retrieval.source_domains import assessment as assessment

__getattr__ = lazy_modules(__name__)
