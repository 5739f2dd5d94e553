"""Vectors that come with the items: which columns or arrays they are, and their declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.data.given_vectors import GIVEN_COLUMN, vector_length, with_arrays
from isthmus.data.inputs import open_sources
from isthmus.errors import InvalidInput, InvalidMapping, command_in, listed
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Releases
from isthmus.index.settings import SpaceSettings
from isthmus.operations.request import UpdateRequest, UpsertRequest
from isthmus.requests import require_mapping
from isthmus.schema import VECTOR


@dataclass(frozen=True)
class GivenVectors:
    """The vectors of an input.

    Attributes
    ----------
    items : object
        The input; arrays that were given beside it are columns of it.
    columns : mapping of str to str
        By named vector, the column that the request names.
    """

    items: Any
    columns: Mapping[str, str]

    @classmethod
    def of(cls, settings: SpaceSettings, request: UpsertRequest | UpdateRequest) -> GivenVectors:
        """Return the vectors that a request names.

        Raises
        ------
        InvalidInput
            If an array does not fit the input.
        InvalidMapping
            If it does not say for which named vector a column is.
        """
        named = _named(settings, request)
        columns = {name: one for name, one in named.items() if isinstance(one, str)}
        arrays = {f"{GIVEN_COLUMN}{n}": one for n, one in named.items() if n not in columns}
        if not arrays:
            return cls(request.items, columns)
        sources = open_sources(request.items, request)
        if len(sources) != 1:
            raise InvalidInput(
                f"arrays of vectors need one table, and not {len(sources)} files; name a column"
            )
        columns |= {name.removeprefix(GIVEN_COLUMN): name for name in arrays}
        return cls(with_arrays(sources[0], arrays), columns)

    def new_dims(self, space: OpenSpace, request: UpsertRequest | UpdateRequest) -> dict[str, int]:
        """Return the length of vectors that the space has no named vector for yet.

        Raises
        ------
        InvalidInput
            If it has items or a release already, so that it cannot get another named vector.
        """
        new = {n: c for n, c in self.columns.items() if n not in space.settings.given}
        if not new:
            return {}
        has_items = space.catalog.snapshot().rows > 0
        if has_items or Releases(space.path).current_number() is not None:
            name = next(iter(new))
            known = listed(sorted(space.settings.given)) or "none"
            what = "items" if has_items else "a release"
            raise InvalidInput(
                f"{space.path} has {what}, and no named vector {name!r} that comes with the items "
                f"(there are {known}); it is named when a space is created, or by its first input: "
                f"{command_in(space.path.with_name('NEW'), f'create --vectors {name}=DIM')}"
            )
        sources = open_sources(self.items, request)
        for name, column in new.items():
            for source in sources:
                if column not in source.columns:
                    raise InvalidMapping(
                        f"{source.name} has no column {column!r} for vector {name!r}; its columns "
                        f"are: {listed(source.columns, column)}"
                    )
        return {name: vector_length([(s, column) for s in sources]) for name, column in new.items()}


def declare_vectors(space: OpenSpace, settings: SpaceSettings) -> None:
    """Add the named vectors of further settings to an empty space, and open it with these.

    Other processes that have the space open must open it again.

    Raises
    ------
    InvalidInput
        If another process added items meanwhile.
    """
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        if space.catalog.snapshot().rows:
            raise InvalidInput(f"another process added items to {space.path}; try again")
        space.catalog.add_vectors([*settings.given.values()])
        pending = SpaceSettings.read(space.path).pending_release
        settings.with_pending(pending).write(space.path)
        space.switch(settings)


def _named(settings: SpaceSettings, request: UpsertRequest | UpdateRequest) -> dict[str, Any]:
    """Return the column or the array of each named vector that a request names."""
    if request.vectors is not None:
        require_mapping(request.vectors, "vectors", "columns or arrays")
    named = dict(request.vectors or {})
    if request.vector is None:
        return named
    if named:
        raise InvalidInput("give vector, or vectors by name, and not both")
    if len(settings.given) > 1:
        raise InvalidMapping(
            f"the items come with several vectors ({', '.join(settings.given)}); say which one: "
            "--vectors NAME=COLUMN"
        )
    return {next(iter(settings.given), VECTOR): request.vector}
