"""The base of every request: what a verb takes, typed, validated and described once.

The Python signatures are tested against these models, and the options of the command line are
generated from them. A module of requests imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

PLAIN = (str, int, float, bool, Path, tuple, list, dict)


class Request(BaseModel):
    """The arguments of a verb; immutable, and without unknown names.

    Raises
    ------
    InvalidInput
        If a value is not valid; the message names the argument.
    """

    # The validator of a class is built at its first use: a command uses one of dozens.
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidInput(first_problem(error, type(self).model_fields)) from error

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self.check()
        return self

    def check(self) -> None:
        """Raise `InvalidInput` if valid arguments do not go together.

        One validator calls the checks of all bases: each would cost every query as much as this.
        """

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Build the request from the ``locals()`` of a method; other names are passed over.

        Most arguments of most calls are the defaults, and those need no validation.
        """
        given = {}
        for name, default in defaults_of(cls).items():
            value = arguments.get(name, default)
            if value is not default and not is_default(value, default):
                given[name] = value
        return cls(**given)


@cache
def defaults_of(request: type[Request]) -> dict[str, Any]:
    """Return the default of each argument of a request, in order; `PydanticUndefined` for none."""
    fields = request.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields}


def is_default(value: Any, default: Any) -> bool:
    """Return whether an argument is its default; arrays and the like are not compared.

    Examples
    --------
    >>> is_default(10, 10), is_default(10.0, 10), is_default([0.5], None)
    (True, False, False)
    """
    return value is default or (
        type(value) is type(default) and isinstance(value, PLAIN) and value == default
    )


Settings = TypeVar("Settings")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def validated_settings(cls: type[Settings]) -> type[Settings]:
    """Make a frozen dataclass whose values are validated, for hyperparameters and the like.

    `dataclasses.replace` and `dataclasses.asdict` work as ever. A value that is not valid raises
    `InvalidInput`, as in a `Request`.
    """
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    settings: type[Settings] = pydantic_dataclass(frozen=True, config=config)(cls)  # type: ignore[assignment]
    validate = settings.__init__

    def init(self: Any, *arguments: Any, **values: Any) -> None:
        try:
            validate(self, *arguments, **values)
        except ValidationError as error:
            raise InvalidInput(first_problem(error, fields_of(settings))) from error

    settings.__init__ = wraps(validate)(init)  # type: ignore[method-assign]
    return settings


def fields_of(model: type) -> dict[str, FieldInfo]:
    """Return the fields of a request or of validated settings."""
    fields: dict[str, FieldInfo] = model.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def values_of(settings: object, model: type) -> dict[str, Any]:
    """Return the values that settings have for the fields of a model."""
    return {name: getattr(settings, name) for name in fields_of(model)}


def first_problem(error: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    """Return the first problem of a validation, with the name and the value of the argument."""
    problem = error.errors()[0]
    if problem["type"] == "value_error":  # raised by a validator of ours, which names both
        return str(problem["ctx"]["error"])
    # The member of a union that did not fit, such as list[str], is no part of the name.
    name = ".".join(part for part in map(str, problem["loc"]) if "[" not in part)
    if problem["type"] == "extra_forbidden":
        return f"there is no argument {name!r}; there are: {', '.join(fields)}"
    if problem["type"] == "missing":
        return f"give {name}"
    remedy = f"give {expected}" if (expected := _expected(problem)) else problem["msg"]
    bounds = _bounds(fields[name].metadata) if name in fields else None
    if bounds and problem["type"].startswith(("greater", "less", "finite")):
        remedy = f"give {bounds}"
    return f"{name} is {problem['input']!r}; {remedy}"


def _expected(problem: ErrorDetails) -> str:
    values = problem.get("ctx", {}).get("expected")  # of a Literal
    return f"one of {values}" if values else ""


def _bounds(metadata: Sequence[Any]) -> str:
    """Put the bounds of a number into words.

    Examples
    --------
    >>> _bounds([Ge(0), Le(1)]), _bounds([Gt(0)]), _bounds([Ge(1)])
    ('a number from 0 to 1', 'a number above 0', '1 or more')
    """
    found = {type(bound): bound for bound in metadata}
    lower, above = found.get(Ge), found.get(Gt)
    upper, below = found.get(Le), found.get(Lt)
    if lower and not upper and not below:
        return f"{lower.ge} or more"
    words = [f"from {lower.ge}"] if lower else [f"above {above.gt}"] if above else []
    words += [f"to {upper.le}"] if upper else [f"below {below.lt}"] if below else []
    return " ".join(["a number", *words]) if words else ""


def require_mapping(value: Any, argument: str, to: str = "numbers") -> None:
    """Check that an argument is a mapping of names, of which the caller checks the values.

    Raises
    ------
    InvalidInput
        If it is none, or a name is no text.
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidInput(f"{argument} is {value!r}; give a mapping of names to {to}")


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number.

    Examples
    --------
    >>> is_finite(1), is_finite(float("nan")), is_finite("1"), is_finite(10**400)
    (True, False, False, False)
    """
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def as_tuple(value: Any) -> Any:
    """Return one name, or several, as a tuple of names; None for none.

    Examples
    --------
    >>> as_tuple("films"), as_tuple(["films", "books"]), as_tuple([])
    (('films',), ('films', 'books'), None)
    """
    if isinstance(value, str):
        return (value,) if value else None
    if value is None or not isinstance(value, Iterable):  # the type of the field refuses others
        return value
    return tuple(value) or None


def split_names(value: Any) -> Any:
    """Return names of a text such as ``a,b,c``, or of a list, as a tuple; None for none.

    Examples
    --------
    >>> split_names("title, year"), split_names(["a,b"]), split_names(())
    (('title', 'year'), ('a,b',), ())
    """
    if isinstance(value, str):
        return tuple(name for name in map(str.strip, value.split(",")) if name)
    return tuple(value) if isinstance(value, Iterable) else value


ListedNames = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Names = Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)]
