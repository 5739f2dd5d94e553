"""Options of commands: those that many commands share, and those generated from request models.

A command marks a parameter with `OptionsOf` and is decorated with `generate_options`. Every field
of the model becomes an option with the field's name, type, default and description, and the
command gets the values by name::

    @generate_options
    def search(
        request: Annotated[Values, OptionsOf(SearchRequest, arguments=("text",))],
        space: SpaceOption,
    ) -> None:
        open_space(space).search(**request)

A mapping field takes ``KEY=NUMBER``, and an option of several values is repeated.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge
from typer.core import TyperCommand

import isthmus
from isthmus.errors import COMMAND_SPACE, InvalidInput, command_in
from isthmus.requests import fields_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from isthmus.space import Space

NO_SPACE = Path()  # of a service: the only one


def _note_space(path: Path) -> Path:
    """Remember the space that a command is given, for the commands that messages name."""
    COMMAND_SPACE.set(None if path == NO_SPACE else path)
    return path


SpaceOption = Annotated[
    Path, typer.Option("--space", "-s", callback=_note_space, help="Folder of the space.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or all (GPUs).")
]
ModelDeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WaitOption = Annotated[
    float, typer.Option("--wait-s", help="How long to wait for another writer, in seconds.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]
SheetOption = Annotated[Path | None, typer.Option("--sheet", help="Also draw the result, a PNG.")]
AllOption = Annotated[
    bool, typer.Option("--all", help="All hits of at least --min-score, instead of -k hits.")
]

METAVARS = {
    **dict.fromkeys(("columns", "exclude", "null_values"), "A,B,C"),
    "weights": "MODALITY=N",
    "vectors": "NAME=VALUE",
    "fields": "NAME=TYPE",
    "quotas": "DOMAIN=N",
    "boost": "PREDICATE=N",
    "pin": "ID",
    "ban": "ID",
    "caps": "ATTRIBUTE=N",
    "event_weights": "EVENT=N",
    "like": "ID",
    "unlike": "ID",
    "pairs": "FILE",
    "alignment": "FOLDER",
    "item_ids": "ID...",
    "attributes": "NAME...",
}
EXAMPLES = {
    "event_weights": "EVENT=0.5, such as view=0.1",
    "weights": "MODALITY=2, such as image=2",
    "quotas": "DOMAIN=3 for places or DOMAIN=0.5 for a share",
    "boost": "PREDICATE=2 for a factor or PREDICATE=+5 for places to move up",
    "caps": "ATTRIBUTE=2, such as brand=2",
    "vectors": "NAME=384 for a length or NAME=COLUMN",
    "fields": "NAME=TYPE, such as mood=text",
}

Values = dict[str, Any]


@dataclass(frozen=True)
class OptionsOf:
    """Marks a parameter of a command that stands for the fields of a request model.

    Attributes
    ----------
    model : type
        A request or validated settings.
    omit : tuple of str
        Fields that the command line does not have.
    arguments : tuple of str
        Fields that are positional.
    types : mapping of str to type
        Types of fields that the model leaves open, such as the path of an image; str by default.
    """

    model: type
    omit: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    types: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> Iterable[inspect.Parameter]:
        """Generate a parameter for Typer of every field."""
        for name, info in fields_of(self.model).items():
            if name not in self.omit:
                kind = self.types.get(name) or option_type(info.annotation)
                yield _parameter(name, info, kind, positional=name in self.arguments)

    def values(self, given: Mapping[str, Any]) -> Values:
        """Return the values of the fields that were given, mappings parsed."""
        values = {}
        for name, info in fields_of(self.model).items():
            value = None if name in self.omit else given.get(name)
            if value is None or value == []:
                continue
            if _is_mapping(info.annotation):
                value = parse_mapping(name, value, texts_too=_holds_anything(info.annotation))
            values[name] = value
        return values


def generate_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters marked with `OptionsOf` by an option for each field."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    marked: dict[str, OptionsOf] = {}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        found = [m for m in get_args(hints[name]) if isinstance(m, OptionsOf)]
        if found:
            marked[name] = found[0]
            parameters |= {one.name: one for one in found[0].parameters()}
        else:
            parameters[name] = parameter.replace(
                annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY
            )
    generated = {one for options in marked.values() for one in fields_of(options.model)}

    @wraps(command)
    def run(**given: Any) -> None:
        arguments = {name: value for name, value in given.items() if name in signature.parameters}
        for name, mark in marked.items():
            arguments[name] = mark.values({n: v for n, v in given.items() if n in generated})
        command(**arguments)

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    del run.__wrapped__  # Typer would read the annotations of the command itself
    return run


def option_name(name: str) -> str:
    """Return the option of a field.

    Examples
    --------
    >>> option_name("num_candidates"), option_name("k")
    ('--num-candidates', '-k')
    """
    return f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"


def option_type(annotation: Any) -> Any:
    """Return the type that Typer parses for a field of a model.

    Examples
    --------
    >>> option_type(int | None), option_type(tuple[str, ...] | None), option_type(Any)
    (<class 'int'>, list[str], <class 'str'>)
    """
    kind = _plain(annotation)
    if get_origin(kind) is tuple or _is_mapping(kind):
        return list[str]
    return kind if kind in (bool, int, float, str, Path) else str  # a Literal is checked later


def parse_mapping(name: str, texts: Iterable[str], *, texts_too: bool = False) -> dict[str, Any]:
    """Parse the values of an option of the form ``KEY=NUMBER``, or also ``KEY=TEXT``.

    Raises
    ------
    InvalidInput
        If one has another form, or a key is given twice.

    Examples
    --------
    >>> parse_mapping("quotas", ["films=3", "books=0.5"])
    {'films': 3, 'books': 0.5}
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, _, number = text.partition("=") if texts_too else text.rpartition("=")
        if key in values:
            raise InvalidInput(f"{option_name(name)} {text}: {key!r} is given twice")
        try:
            if texts_too and number:
                values[key] = number
            elif name == "boost" and number[:1] in ("+", "-"):
                values[key] = number  # an addition, and no factor
            else:
                values[key] = int(number) if number.isdecimal() else float(number)
        except ValueError:
            key = ""
        if not key:
            raise InvalidInput(f"{option_name(name)} {text}: write {EXAMPLES[name]}")
    return values


def _parameter(name: str, info: FieldInfo, kind: Any, *, positional: bool) -> inspect.Parameter:
    metavar = METAVARS.get(name) or ("N" if kind in (int, float) else None)
    settings: Values = {"help": info.description, "metavar": metavar}
    minimum = [bound.ge for bound in info.metadata if isinstance(bound, Ge)]
    if kind is int and minimum:
        settings["min"] = minimum[0]
    required = info.is_required()
    default = inspect.Parameter.empty if required else info.default
    if kind == list[str] or default == ():
        default = inspect.Parameter.empty if required else None
    if default == ():  # no names
        default = None
    if not required and default is None:
        kind = kind | None
    if positional:
        mark = typer.Argument(**settings)
    else:
        flags = [option_name(name)]
        if kind is bool and default is True:  # --measure/--no-measure
            flags = [f"{flags[0]}/--no-{flags[0].removeprefix('--')}"]
        mark = typer.Option(*flags, **settings)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, mark],
    )


def _plain(annotation: Any) -> Any:
    """Return an annotation without None and without what only pydantic reads."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _plain(kinds[0]) if len(kinds) == 1 else str
    return annotation


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(_plain(annotation))
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _holds_anything(annotation: Any) -> bool:
    """Return whether the values of a mapping are texts on the command line."""
    return get_args(_plain(annotation))[-1] in (Any, str)


@dataclass(frozen=True)
class Server:
    """The service that commands ask, in the place of a folder.

    Attributes
    ----------
    address : str
        Its address.
    key : str or None
        The key.
    """

    address: str
    key: str | None


SERVER: ContextVar[Server | None] = ContextVar("server", default=None)


def without_space(group: Any) -> dict[str, Any]:
    """Return defaults of the commands of a group, under which none needs ``--space``."""
    return {
        name: without_space(command) if hasattr(command, "commands") else {"space": str(NO_SPACE)}
        for name, command in group.commands.items()
    }


def open_space(path: Path, *, device: str = "auto", wait_s: float = 30.0) -> Space:
    """Open a space; Lance and FAISS are imported here, when there is something to do.

    With ``--server``, it is the space of a service, which has the verbs that go over HTTP.
    """
    server = SERVER.get()
    if server is not None:
        name = None if path == NO_SPACE else str(path)
        # It has the same verbs; one that does not go over HTTP says so.
        return cast("Space", isthmus.connect(server.address, key=server.key, space=name))
    return isthmus.Space.open(path, device=device, wait_s=wait_s)


def command(words: str) -> str:
    """Return a command for what this one asked, a space or a service, to be typed as it is."""
    server = SERVER.get()
    at = "" if server is None else f"--server {shlex.quote(server.address)} "
    if server is not None and COMMAND_SPACE.get() is None:
        return f"isthmus {at}{words}"
    return command_in(None, f"{at}{words}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done that cannot be undone; stop unless the answer is yes.

    Raises
    ------
    InvalidInput
        If nobody can be asked and `yes` is false.
    typer.Abort
        If the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Nobody can answer here; give --yes to go on")
    typer.confirm(question, abort=True, err=True)


def refuse_given(context: typer.Context, why: str, *names: str) -> None:
    """Refuse options that would have no effect beside the others of a command.

    Parameters
    ----------
    context : typer.Context
        The command as it was called.
    why : str
        What follows the option's name in the message.
    names : str
        The options, as the parameters of the command are called.

    Raises
    ------
    typer.BadParameter
        If one of them was given.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            shown = max(parameter.opts, key=len)
            raise typer.BadParameter(f"{shown if shown.startswith('-') else shown.upper()} {why}")


class SeveralValues(TyperCommand):
    """A command without arguments, whose options take several values after one name.

    Bare words belong to the option before them: ``--protocols cold few1 warm``.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Repeat the name of an option before each of its values, then parse as ever."""
        names = {o for p in self.params if getattr(p, "multiple", False) for o in p.opts}
        return super().parse_args(ctx, _repeated(args, names))


def _repeated(arguments: list[str], names: set[str]) -> list[str]:
    """Repeat names.

    Examples
    --------
    >>> _repeated(["--all", "a", "b", "--one", "c", "d"], {"--all"})
    ['--all', 'a', '--all', 'b', '--one', 'c', 'd']
    """
    out: list[str] = []
    name = None
    for argument in arguments:
        if argument.startswith("-"):
            name = argument if argument in names else None
        elif name is not None and out[-1] != name:
            out.append(name)
        out.append(argument)
    return out
