"""Filters by attributes: a name means what it means in the domains that are searched.

Where an attribute has one column in all of them, the filter is compiled once. Where it has several,
it is compiled for each, and the parts are joined by domain. An attribute that a domain does not
have is null there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from isthmus.data.types import type_name
from isthmus.errors import InvalidFilter, listed
from isthmus.index.catalog.attributes import Attributes
from isthmus.index.catalog.filters.compiler import (
    CompiledFilter,
    ResolvedColumn,
    Resolver,
    can_fail,
    compile_tree,
    quoted,
    stored_columns,
)
from isthmus.index.catalog.filters.syntax import parse
from isthmus.index.catalog.filters.tree import Column, Node, nodes
from isthmus.schema import AUDIO, CONTENT_HASH, DOMAIN, ITEM_COLUMNS

Choice = Mapping[str, str]  # for each attribute, its column


def item_columns(schema: pa.Schema) -> pa.Schema:
    """Return id, domain, text and media of an item: the public columns that are no attributes."""
    audio = [AUDIO] if CONTENT_HASH["audio"] in schema.names else []
    return pa.schema([schema.field(name) for name in (*ITEM_COLUMNS, *audio)])


def compile_for_domains(
    where: str,
    columns: pa.Schema,
    attributes: Attributes,
    domains: frozenset[str] | None = None,
) -> CompiledFilter:
    """Return a predicate over the attributes of domains as the table engine gets it.

    Parameters
    ----------
    where : str
        The predicate.
    columns : pyarrow.Schema
        The columns of every item.
    attributes : Attributes
        The attributes of each domain.
    domains : frozenset of str, optional
        The domains that are searched; all by default.

    Raises
    ------
    InvalidFilter
        If it is no predicate, or its names or types do not fit in one of the domains.
    """
    tree = parse(where)
    searched = attributes.domains if domains is None else sorted(domains)
    names = _attribute_names(tree, columns, attributes)
    of_others = _columns_of_others(names, attributes, searched)
    choices = {domain: _choice(names, attributes, domain, of_others) for domain in searched}
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for domain, choice in choices.items():
        groups.setdefault(tuple(choice.items()), []).append(domain)
    if len(groups) < 2:
        choice = _choice(names, attributes, searched[0] if searched else "", of_others)
        return compile_tree(tree, _resolver(choice, columns, attributes))
    parts, reads = [], [DOMAIN]
    for key, group in groups.items():
        try:
            compiled = compile_tree(tree, _resolver(dict(key), columns, attributes))
        except InvalidFilter as error:
            raise _differs(names, attributes, searched, group, error) from error
        parts.append(f"({_in_domains(group)} AND ({compiled.sql}))")
        reads += compiled.reads
    if domains is None:  # domains without any attribute, where all are null
        compiled = compile_tree(tree, _resolver(dict(next(iter(groups))), columns, attributes))
        parts.append(f"(NOT ({_in_domains(searched)}) AND ({compiled.sql}))")
    return CompiledFilter(" OR ".join(parts), tuple(dict.fromkeys(reads)), can_fail(tree))


def listed_columns(
    columns: pa.Schema, attributes: Attributes, domains: frozenset[str] | None = None
) -> pa.Schema:
    """Return the columns that a filter can use, under the names that a user knows."""
    fields = list(columns)
    for domain, by_name in attributes.columns.items():
        if domains is None or domain in domains:
            fields += [attributes.schema.field(c).with_name(n) for n, c in by_name.items()]
    return pa.schema(list({(field.name, str(field.type)): field for field in fields}.values()))


def _attribute_names(tree: Node, columns: pa.Schema, attributes: Attributes) -> dict[str, str]:
    """Return for each name in a predicate the attribute it means, by its case or else in any."""
    meant = {}
    for name in {node.name for node in nodes(tree) if isinstance(node, Column)}:
        if name in attributes.names:
            meant[name] = name
            continue
        same_name = [n for n in (*columns.names, *attributes.names) if n.lower() == name.lower()]
        if len(same_name) > 1 and name not in columns.names:
            raise InvalidFilter(
                f"{name} may be {' or '.join(same_name)}; write it in the same case."
            )
        if same_name and same_name[0] in attributes.names:
            meant[name] = same_name[0]
    return meant


def _columns_of_others(
    names: Mapping[str, str], attributes: Attributes, searched: Iterable[str]
) -> Choice:
    """Return for each attribute the column it has in the first domain searched that has it."""
    found: dict[str, str] = {}
    for attribute in set(names.values()):
        in_searched = (attributes.columns.get(d, {}).get(attribute) for d in searched)
        column = next((column for column in in_searched if column), None)
        found[attribute] = column or next(iter(attributes.columns_of(attribute)))
    return found


def _choice(
    names: Mapping[str, str], attributes: Attributes, domain: str, of_others: Choice
) -> Choice:
    """Return the column of each attribute in a domain, one that is null there if it has none."""
    of_domain = attributes.columns.get(domain, {})
    return {
        n: of_domain.get(attribute) or of_others[attribute]
        for n, attribute in sorted(names.items())
    }


def _resolver(choice: Choice, columns: pa.Schema, attributes: Attributes) -> Resolver:
    stored = stored_columns(columns)

    def resolve(name: str) -> ResolvedColumn:
        if name not in choice:
            return stored(name)
        column = choice[name]
        return ResolvedColumn(quoted(column), attributes.schema.field(column).type, (column,))

    return resolve


def _differs(
    names: Mapping[str, str],
    attributes: Attributes,
    searched: Iterable[str],
    group: list[str],
    error: InvalidFilter,
) -> InvalidFilter:
    """Return the error of a filter that fits the attributes of some domains and not of others."""
    types = attributes.types()
    said = []
    for attribute in dict.fromkeys(names.values()):
        by_type: dict[str, list[str]] = {}
        for domain in searched:
            if attribute in types.get(domain, {}):
                by_type.setdefault(type_name(types[domain][attribute]), []).append(domain)
        if len(by_type) > 1:
            kinds = " and ".join(f"{t} in {listed(found)}" for t, found in by_type.items())
            said.append(f"{attribute} is {kinds}")
    return InvalidFilter(
        f"{'; '.join(said)}, and in {listed(group)} it does not fit: {error} Name the domains that "
        "are meant (domain=..., --domain)."
    )


def _in_domains(domains: Iterable[str]) -> str:
    texts = ", ".join("'" + domain.replace("'", "''") + "'" for domain in domains)
    return f"{quoted(DOMAIN)} IN ({texts})"
