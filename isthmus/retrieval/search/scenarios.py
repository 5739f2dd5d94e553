"""Scenarios: named sets of business rules of a space, in ``scenarios.toml``.

The file may be edited by hand. It is apart from ``space.toml``, which is rewritten whenever the
vectors of the space change, and goes back with a release: rules belong to neither.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from isthmus.durable import write_atomically
from isthmus.errors import InvalidInput, command_in, listed
from isthmus.requests import Request
from isthmus.retrieval.search.request import ListOptions
from isthmus.schema import SCENARIOS_FILE

Options = TypeVar("Options", bound=ListOptions)
Values = dict[str, Any]
Stamp = tuple[int, int, int] | None


class Scenarios:
    """The scenarios of a space, as they are on disk now.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[Stamp, dict[str, Values]] | None = None

    def all(self) -> dict[str, Values]:
        """Return the rules of every scenario, by its name.

        Raises
        ------
        InvalidInput
            If the file is no valid TOML, or holds something else than tables.
        """
        stamp = _stamp_of(self._folder / SCENARIOS_FILE)
        if self._read is None or self._read[0] != stamp:
            self._read = stamp, {} if stamp is None else _parsed(self._folder / SCENARIOS_FILE)
        return self._read[1]

    def get(self, name: str) -> Values:
        """Return the rules of a scenario.

        Raises
        ------
        InvalidInput
            If there is none of this name; the message lists those there are.
        """
        scenarios = self.all()
        if name in scenarios:
            return scenarios[name]
        there = f"there are: {listed(list(scenarios), name)}" if scenarios else "there is none yet"
        command = command_in(self._folder, "scenarios set", name)
        raise InvalidInput(f"no scenario {name!r}; {there}; set it with: {command}")

    def write(self, scenarios: Mapping[str, Values]) -> None:
        """Store scenarios in the place of all there are; the caller holds the lock."""
        write_atomically(self._folder / SCENARIOS_FILE, tomli_w.dumps(dict(scenarios)).encode())

    def resolve(self, request: Options) -> Options:
        """Return a request with the rules of the scenario that it names, if it does.

        Raises
        ------
        InvalidInput
            If there is no such scenario, or it has a rule that the verb does not take or that is
            not valid; the message names the scenario and the rule.
        """
        name = request.scenario
        return request if name is None else with_scenario(request, name, self.get(name))


def with_scenario(request: Options, name: str, values: Mapping[str, Any]) -> Options:
    """Return a request with the rules of a scenario, see `Scenarios.resolve`."""
    given = {field: getattr(request, field) for field in request.model_fields_set}
    for key in values:
        if key not in type(request).model_fields or key in NOT_IN_SCENARIOS:
            raise InvalidInput(
                f"the scenario {name!r} has {key}, which this verb does not take; use a scenario "
                "without it"
            )
    merged = {**values, **given}
    if "where" in given and "where" in values:
        merged["where"] = f"({values['where']}) AND ({given['where']})"
    if "ban" in given and "ban" in values:
        merged["ban"] = tuple(dict.fromkeys([*values["ban"], *given["ban"]]))
    try:
        return type(request)(**merged)
    except InvalidInput as error:
        raise InvalidInput(f"scenario {name!r}: {error}") from error


NOT_IN_SCENARIOS = ("k", "offset", "cursor", "scenario")


def check_keys(name: str, values: Mapping[str, Any], model: type[Request]) -> None:
    """Raise `InvalidInput` if a scenario has a key that is no rule; the message lists the rules."""
    known = [key for key in model.model_fields if key != "name"]
    for key in values:
        if key not in known:
            raise InvalidInput(
                f"the scenario {name!r} has {key!r}, which is no rule; there are: "
                f"{listed(known, key)}"
            )


def _parsed(path: Path) -> dict[str, Values]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}; correct it") from error
    for name, rules in values.items():
        if not isinstance(rules, dict):
            raise InvalidInput(
                f"{path}: {name!r} is {rules!r} and no scenario; write its rules below [{name}]"
            )
    return values


def _stamp_of(path: Path) -> Stamp:
    """Return what differs between two versions of a file; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
