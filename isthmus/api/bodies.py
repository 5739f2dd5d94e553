"""The JSON of requests: made of the request models of the verbs, whose fields it has.

A field has the type, the default, the limits and the description that the model states. What a
model leaves open, because Python takes more than JSON can hold, has its form in `FORMS`.
"""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo

from isthmus.api.operations import Operation
from isthmus.errors import InvalidInput
from isthmus.requests import fields_of, first_problem
from isthmus.retrieval.recommend.users import User
from isthmus.space import Space

STRICT: Final = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants")


class UserBody(BaseModel):
    """A user, as the arguments of `isthmus.User`."""

    model_config = STRICT
    id: str | None = Field(default=None, description="Id, whose stored interactions count.")
    history: list[str | HistoryEntry] = Field(
        default=[], description="Items, oldest first, alone or with a value and a time."
    )
    clicks: list[str] = Field(default=[], description="Items just looked at, oldest first.")
    ratings: dict[str, float] = Field(default={}, description="Ratings by item.")
    text: str | None = Field(default=None, description="What the user likes, in words.")
    attributes: dict[str, str | int | float | bool | None] = Field(
        default={}, description="What is known of the user: age, country, segment."
    )


class HistoryEntry(BaseModel):
    """An interaction of a user with an item."""

    model_config = STRICT
    item_id: str = Field(description="The item.")
    value: float = Field(default=1.0, description="Its strength, such as a rating.")
    time: float | None = Field(default=None, description="When, in seconds since 1970.")


UserBody.model_rebuild()


class NamedUser(BaseModel):
    """A user of a batch, with the name that the answer has."""

    model_config = STRICT
    name: str = Field(description="What the answer calls the user.")
    user: UserBody


def _decoded(text: str) -> bytes:
    """Return the bytes of base64, or of a data URI."""
    payload = text.partition(",")[2] if text[:5].lower() == "data:" else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a file is no base64: {error}") from error


Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(strict=True)]
Media = Annotated[Text, AfterValidator(_decoded)]
Vector = list[Finite] | dict[str, list[Finite]]
Rows = list[dict[str, Any]]
Listed = list[Text] | Text
Numbers = dict[str, Finite]

# What JSON has in the place of a field that takes anything in Python, or several things.
FORMS: Final[Mapping[str, Any]] = {
    "image": Media | None,
    "audio": Media | None,
    "vector": Vector | None,
    "vectors": list[list[Finite]] | dict[str, list[list[Finite]]],
    "user": UserBody,
    "users": list[UserBody | NamedUser],
    "weights": Numbers | None,
    "quotas": dict[str, int | Finite] | None,
    "event_weights": Numbers | None,
    "items": Rows,
    "source": Rows,
    "like": Listed,
    "unlike": Listed,
    "item_ids": Listed,
    "domain": Listed | None,
    "targets": Listed | None,
    "pretrain": Listed | None,
    "attributes": Listed,
    "columns": Listed | None,
    "exclude": Listed,
    "events": Rows,
    "where": Text | None,
    "item_id": Text,
}
"""Forms of fields by name; those of one operation are in `FORMS_OF`."""

FORMS_OF: Final[Mapping[str, Mapping[str, Any]]] = {
    "upsert": {
        "image": Text | None,
        "audio": Text | None,
        "domain": Text | None,
        "vector": Text | None,
        "vectors": dict[str, Text] | None,
        "max_delete": Text | int | Finite,
    },
    "update": {
        "domain": Text | None,
        "vector": Text | None,
        "vectors": dict[str, Text] | None,
    },
    "delete": {"item_ids": Listed | None},
    "recommend": {"attributes": bool},
    "search": {"attributes": bool},
    "search_groups": {"attributes": bool},
    "similar": {"attributes": bool},
    "scroll": {"attributes": bool},
    "cast_attribute": {"domain": Text},
    "rename_attribute": {"domain": Text},
    "backup": {"to": Text},
    "drop_attribute": {"domain": Text},
}


@cache
def body_of(operation: Operation) -> type[BaseModel]:
    """Return the model of the arguments that do not stand in the path."""
    forms = {**FORMS, **FORMS_OF.get(operation.name, {})}
    fields: dict[str, Any] = {}
    for name, info in argument_fields(operation).items():
        if name not in operation.omit and name not in operation.in_path:
            form = forms.get(name, info.annotation)
            if name not in forms and info.metadata:
                form = Annotated[form, *info.metadata]
            default = ... if info.is_required() else info.default
            if isinstance(default, tuple):
                default = list(default)
            fields[name] = (form, Field(default=default, description=info.description))
    title = "".join(word.capitalize() for word in operation.name.split("_"))
    made: type[BaseModel] = create_model(f"{title}Body", __config__=STRICT, **fields)
    return made


def argument_fields(operation: Operation) -> dict[str, FieldInfo]:
    """Return the arguments of an operation: those of its model, or else of the verb."""
    if operation.request is not None:
        return fields_of(operation.request)
    if not operation.is_verb:
        return {}
    verb = getattr(Space, operation.name)
    hints: dict[str, Any] = {}
    fields = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if name != "self" and name not in operation.in_path:
            hints = hints or get_type_hints(inspect.unwrap(verb))
            fields[name] = FieldInfo(annotation=hints[name], default=parameter.default)
    return fields


def parse_body(operation: Operation, body: bytes) -> dict[str, Any]:
    """Return the arguments that a body gives, as the verb takes them.

    Raises
    ------
    InvalidInput
        If it is no JSON, or an argument is not valid; the message is that of Python.
    """
    model = body_of(operation)
    try:
        parsed = model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise InvalidInput(_problem(error, model)) from error
    return users_of({name: getattr(parsed, name) for name in parsed.model_fields_set})


def parse_query(
    operation: Operation, query: Mapping[str, list[str]], given: str | None = None
) -> dict[str, Any]:
    """Return the arguments that stand behind the question mark of an address.

    Parameters
    ----------
    operation : Operation
        The operation.
    query : mapping of str to list of str
        The values of each name.
    given : str, optional
        An argument that comes in another way.

    Raises
    ------
    InvalidInput
        If one is not valid.
    """
    model = query_model(operation, given)
    values: dict[str, Any] = {}
    for name, texts in query.items():
        field = model.model_fields.get(name)
        several = field is not None and "list" in str(field.annotation)
        values[name] = texts if several else texts[-1]
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(_problem(error, model)) from error
    return {name: getattr(parsed, name) for name in parsed.model_fields_set}


@cache
def query_model(operation: Operation, given: str | None = None) -> type[BaseModel]:
    """Return the model of what stands behind the question mark: texts, read as what they spell."""
    body = body_of(operation)
    fields: dict[str, Any] = {
        name: (_lax(info.annotation), info)
        for name, info in body.model_fields.items()
        if name != given and not _is_mapping(info.annotation)
    }
    made: type[BaseModel] = create_model(
        f"{body.__name__.removesuffix('Body')}Query",
        __config__=ConfigDict(extra="forbid"),
        **fields,
    )
    return made


def _lax(annotation: Any) -> Any:
    """Return a type that takes texts as what they spell."""
    return list[str] | str | None if annotation == Listed | None else annotation


def _is_mapping(annotation: Any) -> bool:
    return "dict" in str(annotation)


def _problem(error: ValidationError, model: type[BaseModel]) -> str:
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return f"the body is no JSON: {problem['msg'].removeprefix('Invalid JSON: ')}"
    if problem["type"] == "model_type":
        return "the body is no JSON object; give the arguments by name"
    return first_problem(error, model.model_fields)


def user_of(body: UserBody) -> User:
    """Return the user that a body describes."""
    history = [
        entry if isinstance(entry, str) else (entry.item_id, entry.value, entry.time)
        for entry in body.history
    ]
    return User(
        history,
        body.text,
        id=body.id,
        clicks=body.clicks,
        ratings=body.ratings,
        attributes=body.attributes,
    )


def users_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with the users that bodies describe."""
    if "user" in arguments and isinstance(arguments["user"], UserBody):
        arguments["user"] = user_of(arguments["user"])
    if "users" in arguments:
        arguments["users"] = [
            (one.name, user_of(one.user)) if isinstance(one, NamedUser) else user_of(one)
            for one in arguments["users"]
        ]
    return arguments
