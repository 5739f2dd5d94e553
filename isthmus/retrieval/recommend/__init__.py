"""The recommender: candidate generators and rankers, trained, stored, served and explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.lazy import lazy_modules

if TYPE_CHECKING:
    from isthmus.retrieval.recommend import request as request
    from isthmus.retrieval.recommend import space_data as space_data
    from isthmus.retrieval.recommend import space_recommender as space_recommender
    from isthmus.retrieval.recommend import store as store

__getattr__ = lazy_modules(__name__)
