"""Selections: the rows of a view that a filter lets through, segment by segment."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from isthmus.index.ann.bitmap import Allowed
from isthmus.index.ann.exact import Mask


class Selection:
    """Living rows of a view; immutable.

    Parameters
    ----------
    masks : tuple of Allowed
        One for each segment of the view.
    """

    def __init__(self, masks: tuple[Allowed, ...]) -> None:
        self.masks = masks

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(mask.count for mask in self.masks)

    @cached_property
    def rows(self) -> Mask:
        """The same as one mask over all rows of the view."""
        return np.concatenate([np.zeros(0, bool), *(allowed.mask for allowed in self.masks)])
