"""Notes: what the reader of an answer should know of it."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.errors import warn
from isthmus.index.releases.view import View
from isthmus.retrieval.search.ranking import DomainGroup
from isthmus.retrieval.search.request import FilterOptions


def warn_of(notes: Sequence[str]) -> Sequence[str]:
    """Return notes, and give each as a warning to the caller of the verb."""
    for note in notes:
        warn(note)
    return notes


def filter_notes(view: View, options: FilterOptions, groups: Sequence[DomainGroup]) -> list[str]:
    """Return a note where no item takes part: in an empty space, or because of the filter."""
    if not len(view):
        return ["the space holds no searchable items yet; add some with: isthmus add"]
    if any(group.selection is None or group.selection.count for group in groups):
        return []
    domains = "" if options.domain is None else f" of {' and '.join(options.domain)}"
    return [f"the filter matches no item{domains}: {options.where}"]
