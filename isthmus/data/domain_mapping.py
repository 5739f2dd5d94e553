"""The mapping of a domain: which columns its ids, texts and media were made of, remembered.

What the first input of a domain says, or what its columns imply, holds for the later ones. An
input that says something else would give the items other texts, or be taken for other items, so it
is refused unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from isthmus.errors import InvalidMapping

VECTOR_ROLE = "vector "  # followed by the name of a named vector


@dataclass(frozen=True)
class DomainMapping:
    """Which columns made the items of a domain; None where no input has said so yet.

    Attributes
    ----------
    id, text : str or None
        Column or template of the id and of the text.
    image, audio : str or None
        Columns of media.
    vectors : mapping of str to str
        By name of the named vector, the columns of vectors that are given.
    """

    id: str | None = None
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    vectors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, stored: str) -> DomainMapping:
        """Read what `as_json` wrote."""
        return cls.of_roles(json.loads(stored))

    @classmethod
    def of_roles(cls, roles: Mapping[str, str]) -> DomainMapping:
        """Return the mapping with these roles; see `roles`."""
        plain = {role: c for role, c in roles.items() if not role.startswith(VECTOR_ROLE)}
        vectors = {r.removeprefix(VECTOR_ROLE): c for r, c in roles.items() if r not in plain}
        return cls(**plain, vectors=vectors)

    def as_json(self) -> str:
        """Return the mapping as text."""
        return json.dumps(self.roles)

    @property
    def roles(self) -> dict[str, str]:
        """The roles that have a column or a template.

        Examples
        --------
        >>> DomainMapping("item_id", "{title}").roles
        {'id': 'item_id', 'text': '{title}'}
        >>> DomainMapping(vectors={"plot": "embedding"}).roles
        {'vector plot': 'embedding'}
        """
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "vectors"}
        given = {role: column for role, column in plain.items() if column is not None}
        return given | {f"{VECTOR_ROLE}{name}": column for name, column in self.vectors.items()}

    def contradicted_by(self, other: DomainMapping) -> list[str]:
        """Return the roles for which another mapping names another column.

        Examples
        --------
        >>> DomainMapping("id", "{title}").contradicted_by(DomainMapping("id", "{name}", "cover"))
        ['text']
        """
        mine = self.roles
        return [r for r, column in other.roles.items() if r in mine and mine[r] != column]

    def joined(self, other: DomainMapping) -> DomainMapping:
        """Return this mapping with the roles of another one in place of its own."""
        return self.of_roles({**self.roles, **other.roles})


def option_of(role: str) -> str:
    """Return the option that names the column of a role.

    Examples
    --------
    >>> option_of("text"), option_of("vector plot")
    ('--text', '--vectors plot=COLUMN')
    """
    if role.startswith(VECTOR_ROLE):
        return f"--vectors {role.removeprefix(VECTOR_ROLE)}=COLUMN"
    return f"--{role}"


def agreed(mappings: Iterable[DomainMapping], role: str) -> str | None:
    """Return the column that all mappings which name one have in a role; None if they differ.

    Examples
    --------
    >>> agreed([DomainMapping("a", image="x"), DomainMapping("b")], "image")
    'x'
    """
    named = {mapping.roles[role] for mapping in mappings if role in mapping.roles}
    return named.pop() if len(named) == 1 else None


def require_agreement(source: str, domain: str, stored: DomainMapping, used: DomainMapping) -> None:
    """Refuse a mapping that contradicts the stored one of a domain.

    Raises
    ------
    InvalidMapping
        The message has both, and the two ways to go on.
    """
    for role in stored.contradicted_by(used):
        before, now = stored.roles[role], used.roles[role]
        raise InvalidMapping(
            f"{source}: the {role} of {domain} is made of {before!r}, and not of {now!r}; leave "
            f"{option_of(role)} out (or give the columns that it reads) to keep that, or give "
            "--remap to change it"
        )


Mappings = Mapping[str, DomainMapping]
