"""What a key reaches: applied to the arguments before a verb, and to its result.

`RULES` has a rule for every operation; one that is missing there could not be served. A key that is
not bound to domains or a filter passes unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.api.operations import Operation
from isthmus.errors import AccessDenied, InvalidInput, ItemNotFound
from isthmus.ids import to_id
from isthmus.index.catalog.filters.syntax import parse
from isthmus.operations.events import parse_events
from isthmus.retrieval.recommend.rows import Rows
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.results import Groups, Hit, Hits
from isthmus.schema import DOMAIN, ITEM_ID
from isthmus.service.keys import Key
from isthmus.space import Space

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How a bound key is held to its items.

    Attributes
    ----------
    before : callable or None
        Changes the arguments, or raises; None where a bound key may not do it at all.
    after : callable or None
        Changes the result.
    """

    before: Callable[[Reach, Arguments], Arguments] | None
    after: Callable[[Reach, Any], Any] | None = None


@dataclass(frozen=True)
class Reach:
    """The items of a space that a bound key reaches.

    Attributes
    ----------
    key : Key
        The key.
    space : Space
        The space.
    reads : bool
        Whether its filter counts, which is for reads.
    """

    key: Key
    space: Space
    reads: bool

    @property
    def where(self) -> str | None:
        """The filter that everything must pass."""
        return self.key.where if self.reads else None

    def domains(self, given: Any) -> list[str] | None:
        """Return the domains that take part; None for all.

        Raises
        ------
        AccessDenied
            If one is given that the key does not reach, or it reaches none that has items.
        """
        allowed = self.key.domains
        if allowed is None:
            return None if given is None else _listed(given)
        for name in _listed(given or ()):
            self.require_domain(name)
        known = self.space.opened.view().domains
        domains = _listed(given) if given else [name for name in allowed if name in known]
        if not domains:
            raise AccessDenied(f"this key is bound to {_named(allowed)}, without items so far")
        return domains

    def require_domain(self, name: Any) -> None:
        """Raise `AccessDenied` if the key does not reach a domain."""
        if self.key.domains is not None and name not in self.key.domains:
            raise AccessDenied(f"this key is bound to {_named(self.key.domains)}, not {name!r}")

    def visible(self, item_ids: Iterable[str]) -> set[str]:
        """Return which items are there and within reach."""
        ids = list(dict.fromkeys(item_ids))
        view = self.space.opened.view()
        rows = view.find(ids)
        there = rows >= 0
        known = view.domains
        allowed = self.key.domains
        names = None if allowed is None else [name for name in allowed if name in known]
        if names is not None and not names:
            return set()
        selected = view.select(names, self.where)
        if selected is not None:
            there[there] = selected.rows[rows[there]]
        return {item_id for item_id, ok in zip(ids, there.tolist(), strict=True) if ok}

    def require_items(self, item_ids: Iterable[Any]) -> None:
        """Raise `ItemNotFound` if an item is not there, or out of reach: both look the same."""
        ids = [to_id(item_id, "item id") for item_id in item_ids]
        visible = self.visible(ids)
        for item_id in ids:
            if item_id not in visible:
                raise ItemNotFound(f"no item {item_id!r} in this space")


def before(operation: Operation, arguments: Arguments, key: Key, space: Space) -> Arguments:
    """Return the arguments of a verb as a key may give them.

    Raises
    ------
    AccessDenied
        If the key reaches some items only, and the operation more.
    """
    rule = RULES[operation.name]
    if not key.is_bound:
        return arguments
    if rule.before is None:
        raise AccessDenied(
            "this is about the whole space, and the key is bound to some of its items"
        )
    return rule.before(Reach(key, space, operation.reads), arguments)


def after(operation: Operation, result: Any, key: Key, space: Space) -> Any:
    """Return what a key may see of a result."""
    rule = RULES[operation.name]
    if not key.is_bound or rule.after is None:
        return result
    return rule.after(Reach(key, space, operation.reads), result)


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _named(domains: Iterable[str]) -> str:
    return f"the domains {', '.join(domains)}"


def _narrowed(reach: Reach, arguments: Arguments) -> Arguments:
    """Restrict domains and filter, and require items that are named."""
    arguments = {**arguments, "domain": reach.domains(arguments.get("domain"))}
    for name in arguments.get("quotas") or {}:
        reach.require_domain(name)
    if reach.where is not None:
        given = arguments.get("where")
        if given is not None:
            parse(given)  # alone, so that no bracket of it ends that which is put around it
        both = reach.where if given is None else f"({given}) AND ({reach.where})"
        arguments["where"] = both
    ids = [arguments["item_id"]] if "item_id" in arguments else []
    for name in ("like", "unlike", "pin"):
        ids += _listed(arguments.get(name) or ())
    reach.require_items(ids)
    return arguments


def _recommending(reach: Reach, arguments: Arguments) -> Arguments:
    """Restrict the list, and leave out what a history names beyond reach."""
    arguments = _narrowed(reach, arguments)
    if "user" in arguments:
        arguments["user"] = _within(reach, arguments["user"])
    if "users" in arguments:
        arguments["users"] = [
            (one[0], _within(reach, one[1])) if isinstance(one, tuple) else _within(reach, one)
            for one in arguments["users"]
        ]
    return arguments


def _within(reach: Reach, user: User) -> User:
    visible = reach.visible(entry.item_id for entry in user.history)
    kept = [entry for entry in user.history if entry.item_id in visible]
    if len(kept) == len(user.history):
        return user
    return User(kept, user.text, id=user.id, attributes=user.attributes)


def _visible_hits(reach: Reach, hits: Hits) -> Hits:
    """Leave out what a scenario of the space pins beyond reach, and notes, which may name it."""
    visible = reach.visible(hit.item_id for hit in hits)
    return _with(hits, [hit for hit in hits if hit.item_id in visible], ())


def _without_hidden_reasons(reach: Reach, hits: Hits) -> Hits:
    """Leave out of explanations the items of a history that are beyond reach."""
    hits = _visible_hits(reach, hits)
    explained = [hit.explanation for hit in hits if hit.explanation is not None]
    visible = reach.visible(one.item_id for why in explained for one in why.history)
    shown = [
        hit
        if hit.explanation is None
        else replace(
            hit,
            explanation=replace(
                hit.explanation,
                history=tuple(one for one in hit.explanation.history if one.item_id in visible),
            ),
        )
        for hit in hits
    ]
    return _with(hits, shown, hits.notes)


def _visible_page(reach: Reach, rows: Rows) -> Rows:
    """Leave out rows that are because of an item beyond reach, such items, and notes."""
    named = [row.item_id for row in rows if row.item_id is not None]
    visible = reach.visible([*named, *(hit.item_id for row in rows for hit in row.hits)])
    kept = [
        replace(row, hits=tuple(hit for hit in row.hits if hit.item_id in visible))
        for row in rows
        if row.item_id is None or row.item_id in visible
    ]
    return Rows([row for row in kept if row.hits], (), rows.release)


def _with(hits: Hits, kept: list[Hit], notes: Iterable[str]) -> Hits:
    """Return the same answer with other hits and notes."""
    answer = Hits(kept, notes, hits.cursor, hits.release)
    answer.recommendation_id, answer.arm = hits.recommendation_id, hits.arm
    return answer


def _of_items(reach: Reach, arguments: Arguments) -> Arguments:
    named = arguments.get("item_ids", arguments.get("item_id", ()))
    reach.require_items(_listed(named))
    return arguments


def _only_visible_item(reach: Reach, arguments: Arguments) -> Arguments:
    reach.require_items([arguments["item_id"]])
    return arguments


def _writing(reach: Reach, arguments: Arguments) -> Arguments:
    """Require that every item is, and stays, in the domains of the key."""
    given, column = arguments.get("domain"), arguments.get("domain_column") or DOMAIN
    if given is not None:
        reach.require_domain(given)
        return arguments
    for at, row in enumerate(_rows(arguments["items"], column, "domain=NAME")):
        if not isinstance(row.get(column), str):
            raise InvalidInput(f"item {at} has no domain in {column!r}, which this key needs")
        reach.require_domain(row[column])
    return arguments


def _changing(reach: Reach, arguments: Arguments) -> Arguments:
    """Require a domain: an item of another one is refused by the ingest."""
    given, allowed = arguments.get("domain"), reach.key.domains
    if given is None and allowed is not None:
        if len(allowed) > 1:
            raise InvalidInput(f"give a domain; this key is bound to {_named(allowed)}")
        return {**arguments, "domain": allowed[0]}
    if given is not None:
        reach.require_domain(given)
    return arguments


def _deleting(reach: Reach, arguments: Arguments) -> Arguments:
    return {**arguments, "domain": reach.domains(arguments.get("domain"))}


def _of_domain(reach: Reach, arguments: Arguments) -> Arguments:
    reach.require_domain(arguments["domain"])
    return arguments


def _events(reach: Reach, arguments: Arguments) -> Arguments:
    reach.require_items(event.item_id for event in parse_events(arguments["events"]))
    return arguments


def _interactions(reach: Reach, arguments: Arguments) -> Arguments:
    column = arguments.get("item") or ITEM_ID
    rows = _rows(arguments["source"], column, "rows as JSON lines")
    for at, row in enumerate(rows):
        if column not in row:
            raise InvalidInput(f"row {at} has no {column!r}, which this key needs")
    reach.require_items(row[column] for row in rows)
    return arguments


def _rows(given: Any, column: str, remedy: str) -> list[dict[str, Any]]:
    """Return rows that are given as such or as a table, of which one column is looked at.

    Raises
    ------
    InvalidInput
        If they stand in a file, which is read later.
    """
    if isinstance(given, Path):
        raise InvalidInput(
            f"this key is bound to domains, and a file is not looked into; give {remedy}"
        )
    if isinstance(given, pa.Table):
        return list(given.select([c for c in given.column_names if c == column]).to_pylist())
    return list(given)


def _unchanged(_: Reach, arguments: Arguments) -> Arguments:
    return arguments


def _visible_groups(reach: Reach, groups: Groups) -> Groups:
    visible = reach.visible(hit.item_id for group in groups for hit in group.hits)
    kept = [
        replace(group, hits=tuple(hit for hit in group.hits if hit.item_id in visible))
        for group in groups
    ]
    return Groups([group for group in kept if group.hits], (), groups.release)


def _visible_table(reach: Reach, table: pa.Table) -> pa.Table:
    """Return the rows of a table whose items are within reach."""
    visible = reach.visible(table.column(ITEM_ID).to_pylist())
    return table.filter(pc.is_in(table.column(ITEM_ID), pa.array(sorted(visible), pa.string())))


def _visible_rows(reach: Reach, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the quarantine whose items are within reach, searchable or not."""
    allowed = reach.key.domains
    return [row for row in rows if allowed is None or row.get(DOMAIN) in allowed]


def _status(reach: Reach, status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what concerns the domains of the key, and the release."""
    allowed = reach.key.domains
    domains = {
        name: count
        for name, count in status["domains"].items()
        if allowed is None or name in allowed
    }
    kept = ("release", "fingerprint", "encoders", "named_vectors")
    return {"domains": domains, **{name: status[name] for name in kept if name in status}}


NARROWED: Final = Rule(_narrowed)
WHOLE_SPACE: Final = Rule(None)

RULES: Final[Mapping[str, Rule]] = {
    "search": Rule(_narrowed, _visible_hits),
    "search_batch": NARROWED,
    "search_groups": Rule(_narrowed, _visible_groups),
    "facets": NARROWED,
    "scroll": NARROWED,
    "count": NARROWED,
    "similar": Rule(_narrowed, _visible_hits),
    "get": Rule(_only_visible_item),
    "map": NARROWED,
    "attributes": Rule(lambda reach, a: {**a, "domain": reach.domains(a.get("domain"))}),
    "status": Rule(_unchanged, _status),
    "recommend": Rule(_recommending, _without_hidden_reasons),
    "recommend_rows": Rule(_recommending, _visible_page),
    "recommend_users": WHOLE_SPACE,
    "recommend_batch": Rule(_recommending, _visible_table),
    "predict_ratings": Rule(_of_items),
    "upsert": Rule(_writing),
    "update": Rule(_changing),
    "delete": Rule(_deleting),
    "cast_attribute": Rule(_of_domain),
    "rename_attribute": Rule(_of_domain),
    "drop_attribute": Rule(_of_domain),
    "record_events": Rule(_events),
    "add_interactions": Rule(_interactions),
    "interactions": Rule(_unchanged, _visible_table),
    "events": WHOLE_SPACE,
    "export_user": WHOLE_SPACE,
    "forget_user": WHOLE_SPACE,
    "merge_users": WHOLE_SPACE,
    "add_users": WHOLE_SPACE,
    "users": WHOLE_SPACE,
    "user_ids": WHOLE_SPACE,
    "user_attributes": WHOLE_SPACE,
    "delete_users": WHOLE_SPACE,
    "quarantine": Rule(_unchanged, _visible_rows),
    "retry_quarantine": WHOLE_SPACE,
    "releases": WHOLE_SPACE,
    "rollback": WHOLE_SPACE,
    "scenarios": WHOLE_SPACE,
    "set_scenario": WHOLE_SPACE,
    "delete_scenario": WHOLE_SPACE,
    "backup": WHOLE_SPACE,
    "publish": WHOLE_SPACE,
    "train": WHOLE_SPACE,
    "monitor": WHOLE_SPACE,
    "evaluate": WHOLE_SPACE,
    "jobs": WHOLE_SPACE,
    "job": WHOLE_SPACE,
}
