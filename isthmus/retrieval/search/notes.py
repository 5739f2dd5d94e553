"""Notes: what the reader of an answer should know of it."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.errors import command_in, warn
from isthmus.index.releases.view import View
from isthmus.retrieval.search.ranking import DomainGroup
from isthmus.retrieval.search.request import FilterOptions


def warn_of(notes: Sequence[str]) -> Sequence[str]:
    """Return notes, and give each as a warning to the caller of the verb."""
    for note in notes:
        warn(note)
    return notes


def filter_notes(view: View, options: FilterOptions, groups: Sequence[DomainGroup]) -> list[str]:
    """Return a note where a domain has no items, or none takes part because of the filter."""
    if not len(view):
        command = command_in(None, "upsert FILES")
        return [f"the space holds no searchable items yet; add some with: {command}"]
    empty = [name for name in options.domain or () if not view.domains.get(name)]
    notes = [f"the domain {' and '.join(empty)} has no items"] if empty else []
    if options.where is None or any(g.selection is None or g.selection.count for g in groups):
        return notes
    if len(empty) == len(options.domain or ()) > 0:
        return notes
    domains = "" if options.domain is None else f" of {' and '.join(options.domain)}"
    return [*notes, f"the filter matches no item{domains}: {options.where}"]
