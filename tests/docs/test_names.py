"""The names of verbs and arguments agree in Python, on the command line and on their page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ConfigDict, TypeAdapter
from typer.main import get_command

import isthmus
from isthmus import (
    AlignmentSettings,
    DistillSettings,
    EvaluationPlan,
    FinetuneSettings,
    Space,
    TrainSettings,
)
from isthmus.api.bodies import body_of
from isthmus.api.operations import BY_NAME, OPERATIONS
from isthmus.cli.commands import build_app
from isthmus.evaluation.logged import EvaluateAbRequest, EvaluateLogRequest
from isthmus.integrations.chat_queries import profile
from isthmus.integrations.enrich import enrich, unenrich
from isthmus.integrations.importing import import_collection
from isthmus.integrations.request import EnrichRequest, ImportRequest
from isthmus.operations.events import RecordEventsRequest
from isthmus.operations.request import (
    AlignRequest,
    AttributesRequest,
    BackupRequest,
    CastAttributeRequest,
    CreateRequest,
    DeleteRequest,
    DropAttributeRequest,
    FinetuneRequest,
    InteractionsRequest,
    LearnFusionRequest,
    MergeUsersRequest,
    MonitorRequest,
    PlanRequest,
    PublishRequest,
    ReembedRequest,
    RenameAttributeRequest,
    UpdateRequest,
    UpsertRequest,
    UsersRequest,
    VectorsRequest,
    VerifyRequest,
)
from isthmus.requests import fields_of
from isthmus.retrieval.recommend.request import (
    EventsRequest,
    PredictRatingsRequest,
    RecommendBatchRequest,
    RecommendFileRequest,
    RecommendRequest,
    RecommendRowsRequest,
    RecommendUsersRequest,
    ScenarioRequest,
    SourceDomainsRequest,
    TrainRequest,
)
from isthmus.retrieval.search.request import (
    DuplicatesRequest,
    FacetsRequest,
    FilterOptions,
    MapRequest,
    ScrollRequest,
    SearchBatchRequest,
    SearchFileRequest,
    SearchGroupsRequest,
    SearchRequest,
    SimilarRequest,
)

COMMAND = get_command(build_app())
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/names.md"
REQUESTS = {
    "create": CreateRequest,
    "upsert": UpsertRequest,
    "update": UpdateRequest,
    "delete": DeleteRequest,
    "ids": FilterOptions,
    "count": FilterOptions,
    "vectors": VectorsRequest,
    "attributes": AttributesRequest,
    "cast_attribute": CastAttributeRequest,
    "rename_attribute": RenameAttributeRequest,
    "drop_attribute": DropAttributeRequest,
    "search": SearchRequest,
    "similar": SimilarRequest,
    "search_groups": SearchGroupsRequest,
    "facets": FacetsRequest,
    "scroll": ScrollRequest,
    "record_events": RecordEventsRequest,
    "search_batch": SearchBatchRequest,
    "search_file": SearchFileRequest,
    "duplicates": DuplicatesRequest,
    "map": MapRequest,
    "add_interactions": InteractionsRequest,
    "add_users": UsersRequest,
    "merge_users": MergeUsersRequest,
    "events": EventsRequest,
    "recommend": RecommendRequest,
    "recommend_batch": RecommendBatchRequest,
    "recommend_rows": RecommendRowsRequest,
    "recommend_users": RecommendUsersRequest,
    "recommend_file": RecommendFileRequest,
    "set_scenario": ScenarioRequest,
    "evaluate_log": EvaluateLogRequest,
    "evaluate_ab": EvaluateAbRequest,
    "predict_ratings": PredictRatingsRequest,
    "source_domains": SourceDomainsRequest,
    "train": TrainRequest,
    "publish": PublishRequest,
    "plan": PlanRequest,
    "reembed": ReembedRequest,
    "align": AlignRequest,
    "learn_fusion": LearnFusionRequest,
    "finetune": FinetuneRequest,
    "verify": VerifyRequest,
    "backup": BackupRequest,
    "monitor": MonitorRequest,
}
SETTINGS = {
    "train": ("settings", TrainSettings),
    "align": ("settings", AlignmentSettings),
    "finetune": ("settings", FinetuneSettings),
    "evaluate": ("plan", EvaluationPlan),
}
FUNCTIONS = {
    "import": (import_collection, ImportRequest),
    "enrich": (enrich, EnrichRequest),
    "unenrich": (unenrich, None),
    "profile": (profile, None),
    "distill": (isthmus.distill, DistillSettings),
    "backups": (isthmus.backups, None),
    "restore": (isthmus.restore, None),
}
# In Python these say how a call runs, and not what it does.
HOW = {"self", "cls", "progress", "settings", "on_epoch"}
# Commands about interactions, users and attributes are groups of their own; `export` writes
# what `vectors` returns.
GROUPED = {
    "vectors": "export",
    "cast_attribute": "attributes cast",
    "rename_attribute": "attributes rename",
    "drop_attribute": "attributes drop",
    "add_interactions": "interactions add",
    "interactions": "interactions show",
    "export_user": "users export",
    "forget_user": "interactions forget-user",
    "verify_forgotten": "verify",
    "erase_user": "users erase",
    "check_certificate": "verify",
    "add_users": "users add",
    "users": "users get",
    "user_ids": "users list",
    "merge_users": "users merge",
    "delete_users": "users delete",
    "user_attributes": "users attributes",
    "evaluate_log": "evaluate",
    "evaluate_ab": "evaluate",
    "scenarios": "scenarios list",
    "set_scenario": "scenarios set",
    "delete_scenario": "scenarios delete",
}
PYTHON_ONLY = {"open", "search_batch", "recommend_batch", "index_text", "record_events"}
MADE_OF_SCROLL = {"ids"}  # over HTTP
# Functions, groups, an alias, a property.
CLI_ONLY = {
    *FUNCTIONS,
    "export",
    "interactions",
    "users",
    "scenarios",
    "add",
    "weights",
    "serve",
    "keys",
    "mcp",
}


def verbs() -> list[str]:
    """The public methods of Space."""
    return [
        name
        for name, value in vars(Space).items()
        if not name.startswith("_") and not isinstance(value, property)
    ]


def command_of(verb: str) -> object | None:
    """The command of a verb; None where it has none."""
    if verb in PYTHON_ONLY:
        return None
    command = COMMAND
    for word in GROUPED.get(verb, verb.replace("_", "-")).split():
        command = command.commands[word]
    return command


def arguments(verb: str) -> list[str]:
    """The arguments of a verb, hyperparameters by name."""
    if verb in FUNCTIONS:
        return arguments_of_function(verb)
    names = [n for n in inspect.signature(getattr(Space, verb)).parameters if n not in HOW]
    if verb in SETTINGS:
        prefix, model = SETTINGS[verb]
        names = [n for n in names if n != prefix]
        names += [f"{prefix}.{name}" for name in fields_of(model)]
    return names


def public_name(function: Callable[..., object]) -> str:
    """From where a function is imported."""
    name = function.__name__
    return f"isthmus.{name}" if name in isthmus.__all__ else f"{function.__module__}.{name}"


def arguments_of_function(verb: str) -> list[str]:
    """The arguments of a function, those of its request by name."""
    function, model = FUNCTIONS[verb]
    taken = inspect.signature(function).parameters
    prefix = "" if "request" in taken else "settings."
    named = [] if model is None else [f"{prefix}{name}" for name in fields_of(model)]
    return [name for name in taken if name not in {*HOW, "request"}] + named


def option_of(verb: str, argument: str) -> str:
    """The option of an argument, or the name of its positional argument; a dash for none."""
    command = command_of(verb)
    params = {} if command is None else {param.name: param for param in command.params}
    name = argument.rpartition(".")[2]
    renamed = {("create", "path"): "space", ("interactions", "user_id"): "user"}
    renamed |= {("distill", "contents"): "texts"}
    renamed |= {
        (verb, "user_id"): "forgotten" for verb in ("verify_forgotten", "check_certificate")
    }
    renamed |= {("forget_user", "user_id"): "user", ("set_weights", "weights"): "given"}
    param = params.get(renamed.get((verb, argument), name))
    if param is None:
        return "—"
    if param.param_type_name == "argument":
        return f"`{(param.metavar or param.name).strip('[]').upper()}`"
    return f"`{max(param.opts, key=len) if len(name) > 1 else param.opts[0]}`"


def expected_rows(names: Iterable[str] | None = None) -> list[tuple[str, str, str]]:
    """Verb, argument and option, in the order of the class or of the names."""
    return [
        (verb, f"`{argument}`", option_of(verb, argument))
        for verb in names or verbs()
        for argument in arguments(verb)
    ]


def address_of(verb: str) -> str:
    """The address of a verb; a dash for none."""
    if verb in MADE_OF_SCROLL:
        verb = "scroll"
    return f"`{BY_NAME[verb].documented_path}`" if verb in BY_NAME else "—"


def member_of(verb: str, argument: str) -> str:
    """The member of a JSON body, or where else an argument stands; a dash for nowhere."""
    operation = BY_NAME.get("scroll" if verb in MADE_OF_SCROLL else verb)
    if operation is None:
        return "—"
    if verb == "evaluate":  # what goes over HTTP are the fields of its plan
        if not argument.startswith("plan."):
            return "—"
        argument = argument.removeprefix("plan.")
    if argument in operation.in_path:
        return "in the path"
    offered = argument in body_of(operation).model_fields
    if offered and operation.has_body:
        return f'`"{argument}"`'
    return f"`?{argument}=`" if offered else "—"


def rows_of_page(heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("verb", REQUESTS)
def test_a_method_has_the_keywords_and_defaults_of_its_request(verb):
    parameters = inspect.signature(getattr(Space, verb)).parameters
    fields = fields_of(REQUESTS[verb])
    given = {name: parameter for name, parameter in parameters.items() if name not in HOW}
    assert set(given) == set(fields)
    for name, field in fields.items():
        default = given[name].default
        assert field.is_required() == (default is inspect.Parameter.empty), name
        if not field.is_required():
            assert field.default == default, name
        assert field.description, name


@pytest.mark.parametrize("verb", REQUESTS)
def test_a_default_is_what_its_validation_returns(verb):
    # `Request.of` leaves defaults to the model, which does not validate them.
    arbitrary = ConfigDict(arbitrary_types_allowed=True)
    for name, field in fields_of(REQUESTS[verb]).items():
        if not field.is_required():
            adapter = TypeAdapter(
                Annotated[field.annotation, name, *field.metadata], config=arbitrary
            )
            validated = adapter.validate_python(field.default)
            assert (type(validated), validated) == (type(field.default), field.default), name


def test_every_verb_is_a_command_of_its_name_and_no_other_is():
    commands = set(COMMAND.commands)
    of_verbs = {verb.replace("_", "-") for verb in verbs() if verb not in {*PYTHON_ONLY, *GROUPED}}
    assert commands - CLI_ONLY == of_verbs
    assert all(command_of(verb) is not None for verb in GROUPED)


def test_an_option_has_the_name_of_its_argument():
    renamed = [("create", "path"), ("distill", "contents")]
    renamed += [("verify_forgotten", "user_id"), ("check_certificate", "user_id")]
    for verb, argument, option in [*expected_rows(), *expected_rows(FUNCTIONS)]:
        name = argument.strip("`").rpartition(".")[2]
        if option.startswith("`-") and (verb, name) not in renamed:
            assert option.strip("`") in (f"--{name.replace('_', '-')}", f"-{name}")


def test_the_page_lists_the_verbs():
    listed = [re.sub(r"[`()]|Space\.", "", row[0]) for row in rows_of_page("Verbs")]
    assert listed == verbs()
    for verb, row in zip(listed, rows_of_page("Verbs"), strict=True):
        words = GROUPED.get(verb, verb.replace("_", "-"))
        assert row[1] == ("—" if verb in PYTHON_ONLY else f"`isthmus {words}`")
        assert row[2] == address_of(verb)


def test_the_page_lists_the_arguments():
    assert [tuple(row) for row in rows_of_page("Arguments")] == [
        (f"`{verb}`", argument, option, member_of(verb, argument.strip("`")))
        for verb, argument, option in expected_rows()
    ]


def test_every_operation_of_the_service_is_a_verb_or_about_jobs():
    assert {o.name for o in OPERATIONS if o.is_verb} <= set(verbs())
    assert {o.name for o in OPERATIONS if not o.is_verb} == {"jobs", "job"}


def test_the_page_lists_the_functions_and_their_arguments():
    assert [tuple(row) for row in rows_of_page("Functions")] == [
        (f"`{public_name(function)}`", f"`isthmus {name}`")
        for name, (function, _) in FUNCTIONS.items()
    ]
    assert [tuple(row) for row in rows_of_page("Arguments of functions")] == [
        (f"`{verb}`", argument, option) for verb, argument, option in expected_rows(FUNCTIONS)
    ]
