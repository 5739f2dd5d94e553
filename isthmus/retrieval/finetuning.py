"""The fine-tuning verb of a space: what its users take together is what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.finetuning.pairs import LEAST, ContentPairs
from isthmus.errors import InvalidInput
from isthmus.retrieval.co_consumed import Rows

if TYPE_CHECKING:
    from isthmus.encoders.finetuning.report import FinetuneReport


def pairs_of_texts(texts: Sequence[str], pairs: Rows) -> ContentPairs:
    """Give pairs of items as pairs of their texts.

    Items of one text are one content; those without a text are left out, and items that belong
    to no other are searched all the same.

    Parameters
    ----------
    texts : sequence of str
        Of each item, empty where it has none.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2): items that belong together.

    Raises
    ------
    InvalidInput
        If too few are left.
    """
    place: dict[str, int] = {}
    for text in texts:
        if text:
            place.setdefault(text, len(place))
    rows = np.array([place.get(text, -1) for text in texts], np.int64)
    own = np.unique(np.sort(rows[pairs], axis=1), axis=0) if len(pairs) else pairs
    own = own[(own[:, 0] >= 0) & (own[:, 0] != own[:, 1])]
    if len(own) < LEAST:
        raise InvalidInput(
            f"{len(own)} pairs of items belong together by their users, and at least {LEAST} are "
            "needed; add interactions, or ask for fewer users in common with least_common "
            "(--least-common)"
        )
    return ContentPairs(
        ["text"] * len(place),
        list(place),
        [digest(text) for text in place],
        own,
        ordered=False,
        rows_read=len(pairs),
    )
