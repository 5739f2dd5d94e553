"""Set, list and delete the scenarios of a space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.errors import InvalidFilter, InvalidInput
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.retrieval.recommend.request import ScenarioOptions, ScenarioRequest
from isthmus.retrieval.search.ranking import group_domains
from isthmus.retrieval.search.rules import Rules
from isthmus.retrieval.search.scenarios import Scenarios, check_keys, with_scenario

LONGEST_NAME = 100
LONGEST_PAGE = 1_000  # that quotas can fill


def set_scenario(space: OpenSpace, request: ScenarioRequest) -> dict[str, Any]:
    """Store a scenario in the place of one of its name, and return its rules.

    Raises
    ------
    InvalidInput
        If a rule is not valid in this space; nothing is stored then.
    """
    name = request.name
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InvalidInput(
            f"the name of a scenario is {name!r}; give a name of 1 to {LONGEST_NAME} printable "
            "characters"
        )
    values = {
        key: _plain(value)
        for key in sorted(request.model_fields_set - {"name"})
        if (value := getattr(request, key)) is not None
    }
    scenario_options(space, name, values)
    with write_lock(space.path, "scenarios", space.wait_s):
        scenarios = Scenarios(space.path)
        scenarios.write({**scenarios.all(), name: values})
    return values


def scenario_options(space: OpenSpace, name: str, values: Mapping[str, Any]) -> ScenarioOptions:
    """Return a scenario as options of a list.

    Raises
    ------
    InvalidInput
        If a rule is unknown or not valid in this space; the message names the scenario and the
        rule.
    """
    check_keys(name, values, ScenarioRequest)
    places = values.get("num_candidates") or LONGEST_PAGE
    options = with_scenario(ScenarioOptions(k=places), name, values)
    view = space.view()
    try:
        groups = group_domains(view, options)
        rules = Rules.of(view, options, [group.selection for group in groups])
    except (InvalidInput, InvalidFilter) as error:
        raise type(error)(f"scenario {name!r}: {error}") from error
    if rules is not None and rules.missing:
        raise InvalidInput(
            f"scenario {name!r}: pin names {', '.join(rules.missing)}, and no such item passes the "
            "filter; leave it out, or add the item first"
        )
    return options.model_copy(update={"k": ScenarioOptions.model_fields["k"].default})


def list_scenarios(space: OpenSpace) -> dict[str, dict[str, Any]]:
    """Return the rules of each scenario, by its name."""
    return {name: dict(values) for name, values in Scenarios(space.path).all().items()}


def delete_scenario(space: OpenSpace, name: str) -> None:
    """Delete a scenario.

    Raises
    ------
    InvalidInput
        If there is none of this name.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"the name of a scenario is {name!r}; give a name")
    with write_lock(space.path, "scenarios", space.wait_s):
        scenarios = Scenarios(space.path)
        scenarios.get(name)
        scenarios.write({key: values for key, values in scenarios.all().items() if key != name})


def _plain(value: Any) -> Any:
    """Return a value that TOML has."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
