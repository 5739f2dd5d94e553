"""A view of some rows."""

from __future__ import annotations

from dataclasses import replace

from isthmus.index.ann.exact import Mask
from isthmus.index.ann.segment import join_segments
from isthmus.index.releases.view import View


def sampled_view(view: View, kept: Mask) -> View:
    """Give a view of some rows of the first segment alone."""
    sampled = join_segments([view.segments[0]], [kept])
    return replace(view, segments=(sampled,), alive=(sampled.all_rows(),))
