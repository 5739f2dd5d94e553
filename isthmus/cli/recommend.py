"""Commands that recommend, predict ratings, train and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import isthmus
from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    OptionsOf,
    SheetOption,
    SpaceOption,
    Values,
    WaitOption,
    generate_options,
    open_space,
)
from isthmus.cli.show import (
    show_events,
    show_hits,
    show_line,
    show_predictions,
    show_ranked_users,
    show_recommendations,
    show_rows,
)
from isthmus.cli.show_reports import show_reasons, show_source_domains, show_training
from isthmus.errors import InvalidInput
from isthmus.evaluation.request import EvaluationPlan
from isthmus.retrieval.recommend.request import (
    EventsRequest,
    PredictRatingsRequest,
    RecommendFileRequest,
    RecommendRequest,
    RecommendRowsRequest,
    RecommendUsersRequest,
    SourceDomainsRequest,
    TrainRequest,
    TrainSettings,
)
from isthmus.terminal import say, say_json

OMITTED = ("user", "attributes", "experiment")  # `isthmus recommend` is no part of an A/B test
UserOption = Annotated[
    str | None, typer.Option(help="Id of a user whose interactions are stored; default: unknown.")
]

HistoryOption = Annotated[
    list[str] | None, typer.Option(help="Item the user knows, oldest first; repeat it.")
]
ClicksOption = Annotated[
    list[str] | None, typer.Option(help="Item just looked at, oldest first; repeat it.")
]
TextOption = Annotated[str | None, typer.Option(help="What the user likes, in words.")]


@generate_options
def recommend(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(RecommendRequest, omit=OMITTED)],
    user: UserOption = None,
    history: HistoryOption = None,
    clicks: ClicksOption = None,
    text: TextOption = None,
    sheet: SheetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user."""
    opened = open_space(space, device=device)
    items = [*(history or []), *(clicks or [])]
    for item_id in items:
        opened.get(item_id)  # an unknown item is refused
    who = isthmus.User(history, text, id=user, clicks=clicks)
    hits = opened.recommend(who, **request, attributes=True)
    show_hits(opened, text or user or ", ".join(items), None, hits, sheet, as_json=as_json)
    if hits.recommendation_id is not None:
        opened.recommendation_log.flush()
        if not as_json:
            say(f"logged as {hits.recommendation_id}")
    if request.get("explain") and not as_json:
        show_reasons(hits)


@generate_options
def recommend_rows(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(RecommendRowsRequest, omit=OMITTED)],
    user: UserOption = None,
    history: HistoryOption = None,
    clicks: ClicksOption = None,
    text: TextOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend several titled rows of items to a user; no item comes twice."""
    opened = open_space(space, device=device)
    for item_id in [*(history or []), *(clicks or [])]:
        opened.get(item_id)  # an unknown item is refused
    who = isthmus.User(history, text, id=user, clicks=clicks)
    show_rows(opened.recommend_rows(who, **request, attributes=True), as_json=as_json)


@generate_options
def recommend_users(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(RecommendUsersRequest, arguments=("item_id",))],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """List the users to tell about an item, the most interested first."""
    show_ranked_users(open_space(space, device=device).recommend_users(**request), as_json=as_json)


def recommendations(
    space: SpaceOption, user: UserOption = None, as_json: JsonOption = False
) -> None:
    """List the logged recommendations, to one user or to all, oldest first."""
    rows = open_space(space).recommendations(user).to_pylist()
    if as_json:
        say_json(rows)
        return
    show_recommendations(rows)


@generate_options
def recommend_file(
    context: typer.Context,
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(RecommendFileRequest, arguments=("users",))],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Recommend items to every user of a file; by default on all cores."""
    from isthmus.numerics.processes import cores

    source = context.get_parameter_source("processes")
    if source is None or source.name != "COMMANDLINE":
        request["processes"] = cores()
    counts = open_space(space, device=device).recommend_file(**request, progress=True)
    show_line({**counts, "out": str(request["out"])}, as_json=as_json)


@generate_options
def predict_ratings(
    space: SpaceOption,
    request: Annotated[
        Values, OptionsOf(PredictRatingsRequest, omit=("user",), arguments=("item_ids",))
    ],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the ratings that a user would give items."""
    opened = open_space(space)
    ratings = opened.predict_ratings(isthmus.User(id=user), **request)
    show_predictions(request["item_ids"], ratings.tolist(), as_json=as_json)


@generate_options
def events(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(EventsRequest)],
    as_json: JsonOption = False,
) -> None:
    """Show how a training would use the stored events, with counts; nothing is trained."""
    show_events(open_space(space).events(**request), as_json=as_json)


@generate_options
def train(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(TrainRequest)],
    settings: Annotated[Values, OptionsOf(TrainSettings)],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Train candidate generators and rankers on the stored interactions.

    What was trained becomes part of the next release: run isthmus publish after it. A training
    that was interrupted resumes when the same command is run again.
    """
    opened = open_space(space, wait_s=wait_s)
    how = {name: request[name] for name in EventsRequest.model_fields if name in request}
    say(opened.events(**how).describe(), err=True)
    description = opened.train(**request, settings=TrainSettings(**settings), progress=True)
    show_training(description, as_json=as_json)


@generate_options
def source_domains(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(SourceDomainsRequest)],
    as_json: JsonOption = False,
) -> None:
    """Rank the other domains as sources for a target domain, and say which of them do harm."""
    show_source_domains(open_space(space).source_domains(**request), as_json=as_json)


@generate_options
def evaluate(
    space: SpaceOption,
    plan: Annotated[Values, OptionsOf(EvaluationPlan, omit=EvaluationPlan.PYTHON_ONLY)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for JSON and HTML; there an evaluation resumes.")
    ] = None,
    log: Annotated[
        bool, typer.Option("--log", help="Estimate from logged lists what a scenario would earn.")
    ] = False,
    ab: Annotated[
        str | None, typer.Option("--ab", help="Compare the arms of this experiment by the log.")
    ] = None,
    reward: Annotated[
        str, typer.Option(help="With --log and --ab: the kind of event that counts.")
    ] = "click",
    lists: Annotated[int, typer.Option(min=1, help="With --log: most lists to replay.")] = 5_000,
    control: Annotated[
        str | None, typer.Option(help="With --ab: the arm that others are compared with.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how well the space and every baseline recommend what is hidden from them.

    Baselines are tuned on validation users; all systems then rank every item of the target
    domain. Options that take several values take them one after the other.

    With --log and --ab the log of recommendations is evaluated in their place.
    """
    from isthmus.evaluation.terminal import show_ab, show_evaluation, show_log

    opened = open_space(space, device=device)
    if log or ab is not None:
        options = {"reward": reward, "seed": plan.get("seed", 0)}
        if ab is not None:
            arms = opened.evaluate_ab(ab, control=control, **options)
            say_json(arms.model_dump(mode="json")) if as_json else show_ab(arms)
            return
        (scenario,) = _one(plan.get("scenario"))
        found = opened.evaluate_log(scenario=scenario, lists=lists, **options, progress=True)
        say_json(found.model_dump(mode="json")) if as_json else show_log(found)
        return
    evaluation = opened.evaluate(EvaluationPlan(**plan), out=out, progress=True)
    if as_json:
        say_json(evaluation.model_dump(mode="json"))
    else:
        show_evaluation(evaluation)


def _one(names: list[str] | None) -> list[str | None]:
    """Return the one scenario that the log is evaluated for.

    Raises
    ------
    InvalidInput
        If there are several.
    """
    if names and len(names) > 1:
        raise InvalidInput("the log is evaluated for one scenario at a time; name one")
    return [names[0] if names else None]
