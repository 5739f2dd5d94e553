"""What the recommending verbs take: one request a verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SkipValidation

from isthmus.requests import Names, Request, as_tuple
from isthmus.retrieval.search.request import ListOptions

PROCESSES = "How many processes answer, each on a core of its own (forked, on Linux)."


class RecommendRequest(ListOptions):
    """Items of a domain for one user."""

    user: SkipValidation[Any] = Field(description="The user (`isthmus.User`) to recommend to.")
    attributes: bool = Field(
        default=False, description="Whether hits carry text, image, audio and attributes."
    )
    explain: bool = Field(default=False, description="Say of every hit why it is recommended.")


class RecommendBatchRequest(ListOptions):
    """Items of a domain for each of many users."""

    users: SkipValidation[Any] = Field(
        description="Users with an id, or pairs of a name and a user."
    )
    processes: int = Field(default=1, ge=1, description=PROCESSES)


class RecommendFileRequest(ListOptions):
    """Items of a domain for each user of a file."""

    users: Path = Field(
        description="Parquet, JSON lines or CSV: user_id, optionally history, clicks, ratings and "
        "text; stored interactions count."
    )
    out: Path = Field(description="Parquet to write: user_id, item_id, rank and score.")
    processes: int = Field(default=1, ge=1, description=PROCESSES)


class PredictRatingsRequest(Request):
    """The ratings that a user would give items."""

    user: SkipValidation[Any] = Field(description="The user (`isthmus.User`).")
    item_ids: Annotated[tuple[str, ...], BeforeValidator(lambda ids: as_tuple(ids) or ())] = Field(
        description="Items to predict the rating of, known or new."
    )


class TrainRequest(Request):
    """What a recommender is trained for; how, say the settings."""

    targets: Names = Field(
        default=None,
        description="Domains to recommend in; by default all with 20 users or more.",
    )
    pretrain: Names = Field(
        default=None,
        description="Domains that a ranker learns on before it is fine-tuned on its target.",
    )
    start_from: Path | None = Field(
        default=None, description="Another space, whose published rankers are fine-tuned."
    )
    positive_from: float | None = Field(
        default=None,
        description="Least value that counts as positive; by default 0.8 of the largest where "
        "values differ.",
    )


class SourceDomainsRequest(Request):
    """Which other domains help to recommend in a target domain."""

    target: str = Field(description="Domain to recommend in.")
    measure: bool = Field(
        default=True,
        description="Measure what each domain is worth to simulated cold-start users.",
    )
    positive_from: float | None = Field(
        default=None,
        description="Least value that counts as positive; by default 0.8 of the largest where "
        "values differ.",
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")
