"""What the recommending verbs take: one request a verb."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SkipValidation

from isthmus.ids import Id, Ids
from isthmus.requests import Names, Request, validated_settings
from isthmus.retrieval.candidates.settings import GeneratorSettings
from isthmus.retrieval.ranker.settings import RankerSettings
from isthmus.retrieval.search.request import (
    ListOptions,
    PageOptions,
    RuleOptions,
    ShapeOptions,
)
from isthmus.retrieval.search.rule_request import to_seconds

MAX_PROCESSES = 1_024
PROCESSES = "How many processes answer, each on one core (forked, on Linux)."


def _one_user(given: Any) -> Any:
    # By what a user has: the class of users imports the table engine, and commands start here.
    if not isinstance(getattr(given, "history", None), tuple):
        raise ValueError(
            f"{given!r} is no user; give isthmus.User(history=['film-1']), or User(id='u1')"
        )
    return given


OneUser = Annotated[Any, AfterValidator(_one_user)]


class UserRules(RuleOptions):
    """Business rules of a list for a user, beside those of any list."""

    min_relevance: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Least score of an item, as a share of that of the best candidate.",
    )
    exclude_shown_for: str | None = Field(
        default=None,
        description="How long an item that was shown to the user, or dismissed, stays out of the "
        "list: 30m, 12h, 7d; from stored events of these kinds, with a time.",
    )

    def check(self) -> None:
        """Raise `InvalidInput` if the time is none."""
        super().check()
        if self.exclude_shown_for is not None:
            to_seconds("exclude_shown_for", self.exclude_shown_for)

    @property
    def ruled(self) -> bool:
        """Whether there are rules."""
        return super().ruled or bool(self.min_relevance or self.exclude_shown_for)


class ExploreOptions(Request):
    """How much of a list is left to chance."""

    explore: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the places that goes to new items, by Thompson sampling.",
    )


class UserListOptions(UserRules, ListOptions):
    """What a list for a user is to be like."""


class ScenarioOptions(UserListOptions, ExploreOptions):
    """What a list of a scenario is to be like."""

    @property
    def ruled(self) -> bool:
        """Whether there are rules."""
        return super().ruled or self.explore > 0


class ScenarioRequest(UserRules, ShapeOptions, ExploreOptions):
    """A named set of rules, stored with the space."""

    name: str = Field(description="Name of the scenario, such as home.")


class RecommendRequest(ScenarioOptions, PageOptions):
    """Items of a domain for one user."""

    user: OneUser = Field(description="The user (`isthmus.User`) to recommend to.")
    attributes: bool = Field(
        default=False, description="Whether hits carry text, image, audio and attributes."
    )
    explain: bool = Field(default=False, description="Say of every hit why it is recommended.")
    log: bool = Field(
        default=False,
        description="Log the list, with the probability of every item at its place; the answer "
        "has a recommendation_id, which events can name.",
    )
    experiment: SkipValidation[Any] = Field(
        default=None,
        description="A/B test (`isthmus.Experiment`, or its values) whose arm for the user says "
        "which scenario or release answers.",
    )


class RecommendBatchRequest(UserListOptions):
    """Items of a domain for each of many users."""

    users: SkipValidation[Any] = Field(
        description="Users with an id, or pairs of a name and a user."
    )
    processes: int = Field(default=1, ge=1, le=MAX_PROCESSES, description=PROCESSES)


class RecommendRowsRequest(UserListOptions):
    """Several titled rows of items for one user, as on a page; no item twice."""

    user: OneUser = Field(description="The user (`isthmus.User`) to recommend to.")
    n_rows: int = Field(default=8, ge=1, le=50, description="Most rows.")
    because: int = Field(
        default=2, ge=0, le=10, description="Most rows because of an item of the history."
    )
    categories: int = Field(
        default=2, ge=0, le=20, description="Most rows of one value of an attribute."
    )
    by: str | None = Field(
        default=None,
        description="Attribute of the rows of categories; by default category, genre, section or "
        "type, where there is one.",
    )
    attributes: bool = Field(
        default=False, description="Whether hits carry text, image, audio and attributes."
    )


class RecommendUsersRequest(Request):
    """The users to tell about an item."""

    item_id: Id = Field(description="The item.")
    k: int = Field(default=10, ge=1, description="How many users.")


class RecommendFileRequest(UserListOptions):
    """Items of a domain for each user of a file."""

    users: Path = Field(
        description="Parquet, JSON lines or CSV: user_id, optionally history, clicks, ratings and "
        "text; stored interactions count."
    )
    out: Path = Field(description="Parquet to write: user_id, item_id, rank and score.")
    processes: int = Field(default=1, ge=1, le=MAX_PROCESSES, description=PROCESSES)


class PredictRatingsRequest(Request):
    """The ratings that a user would give items."""

    user: OneUser = Field(description="The user (`isthmus.User`).")
    item_ids: Ids = Field(description="Items to predict the rating of, known or new.")


class EventsRequest(Request):
    """How stored events count."""

    event_weights: SkipValidation[Mapping[str, float] | None] = Field(
        default=None,
        description="Weight of kinds of event (view=0.1), in the place of the default ones; 0 "
        "leaves a kind out, below 0 makes it a dislike.",
    )
    positive_from: float | None = Field(
        default=None,
        gt=0,
        description="Least value that counts as positive, of the kinds of event whose values "
        "differ; by default 0.8 of the largest rating, and no threshold for amounts.",
    )
    half_life_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after which an event counts half; by default its age does not count.",
    )


class TrainRequest(EventsRequest):
    """What a recommender is trained for; how, say the settings."""

    private: bool = Field(
        default=False,
        description="Train with differential privacy of every user, over all domains together; "
        "epsilon says how much.",
    )
    epsilon: float | None = Field(
        default=None,
        description="Privacy budget of a private training; the smaller, the more private.",
    )
    delta: float | None = Field(
        default=None,
        description="Probability that the promise of a private training fails, below 1 / users; "
        "by default 1e-6.",
    )

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


@validated_settings
class RecommenderOptions(GeneratorSettings):
    """What is decided for each target domain: generators, source domains, hyperparameters."""

    tuning_trials: int = Field(
        default=0,
        ge=0,
        description="Hyperparameter settings to try for each ranker; 0 takes the defaults.",
    )
    check_source_domains: bool = Field(
        default=True,
        description="Measure what the histories of other domains are worth, and ignore for a "
        "target those that hurt.",
    )


@validated_settings
class TrainSettings(RecommenderOptions, RankerSettings):
    """How a recommender is trained; the defaults are meant for any data."""

    cross_fitting_folds: int = Field(
        default=2,
        ge=1,
        description="Folds of the users; a ranker is trained on candidates of generators that "
        "have not seen the fold.",
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
