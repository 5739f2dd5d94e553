"""Notes: what the reader of an answer should know of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from isthmus.errors import IsthmusWarning
from isthmus.index.releases.view import View
from isthmus.retrieval.search.ranking import DomainGroup
from isthmus.retrieval.search.request import FilterOptions

CALLS_ABOVE = 4  # from `warn_of` to the caller of the method of Space


def warn_of(notes: Sequence[str]) -> Sequence[str]:
    """Return notes, and give each as a warning to the caller of the verb."""
    for note in notes:
        warnings.warn(note, IsthmusWarning, stacklevel=CALLS_ABOVE)
    return notes


def filter_notes(view: View, options: FilterOptions, groups: Sequence[DomainGroup]) -> list[str]:
    """Return a note where no item takes part: in an empty space, or because of the filter."""
    if not len(view):
        return ["the space holds no searchable items yet; add some with: isthmus add"]
    if any(group.selection is None or group.selection.count for group in groups):
        return []
    domains = "" if options.domain is None else f" of {' and '.join(options.domain)}"
    return [f"the filter matches no item{domains}: {options.where}"]
