"""Fine-tune the text encoder of a space on the items that its users have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.digests import digest
from isthmus.encoders.training.finetuning.pairs import MIN_PAIRS as MIN_FINETUNE_PAIRS
from isthmus.encoders.training.finetuning.pairs import ContentPairs
from isthmus.encoders.training.finetuning.quality import OtherDomain
from isthmus.errors import InvalidInput, UnsupportedOperation, listed
from isthmus.index.open_space import OpenSpace
from isthmus.numerics.co_occurrence import (
    Rows,
    co_occurring_pairs,
)
from isthmus.operations.request import FinetuneRequest
from isthmus.schema import DOMAIN, ITEM_ID, TEXT

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_matrix

    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.encoders.training.settings import FinetuneSettings

MIN_PAIRS: Final = 100  # of another domain, to measure it by its pairs


def finetune_encoder(
    space: OpenSpace,
    request: FinetuneRequest,
    settings: FinetuneSettings | None = None,
    *,
    progress: bool = False,
) -> FinetuneReport:
    """Fine-tune a text encoder on the items of a domain that users have in common."""
    from isthmus.encoders.training.finetuning.finetune import finetune

    spec = request.encoder or _text_spec(space)
    domains = _domain_texts(space, request)
    if request.target not in domains:
        raise InvalidInput(
            f"no domain {request.target!r} with texts in this space; there are: "
            f"{', '.join(sorted(domains)) or 'none'}"
        )
    target = domains.pop(request.target)
    return finetune(
        spec,
        pairs_of_texts(target.texts, target.pairs),
        request.out,
        others=[domain.as_other() for domain in domains.values()],
        settings=settings,
        device=request.device,
        progress=progress,
    )


def _text_spec(space: OpenSpace) -> str:
    if "text" not in space.settings.encoders:
        raise UnsupportedOperation("this space has no encoder of text that could be trained")
    return space.settings.encoders["text"]


def _domain_texts(space: OpenSpace, request: FinetuneRequest) -> dict[str, _DomainTexts]:
    """Return the texts of each domain, and the pairs that its users make."""
    interactions, feedback = space.training_interactions(request.positive_from)
    snapshot, label = space.view().snapshot, request.label
    if label is not None and label not in snapshot.attributes.names:
        raise InvalidInput(
            f"no attribute {label!r} in this space; there are: "
            f"{listed(snapshot.attributes.names, label) or 'none'}"
        )
    label_columns = [] if label is None else snapshot.attributes.columns_of(label)
    columns = [ITEM_ID, DOMAIN, TEXT, *label_columns]
    rows = [row for batch in snapshot.batches(columns) for row in batch.to_pylist()]
    positives = _positives([row[ITEM_ID] for row in rows], interactions, feedback)
    by_domain = {}
    for name in sorted({row[DOMAIN] for row in rows}):
        at = [number for number, row in enumerate(rows) if row[DOMAIN] == name]
        texts = [(rows[number][TEXT] or "").strip() for number in at]
        if any(texts):
            pairs = co_occurring_pairs(
                positives[:, at].tocsr(),
                min_common_users=request.min_common_users,
                max_partners=request.max_pairs_per_item,
            )
            labels = None
            if label is not None:
                column = snapshot.attributes.columns.get(name, {}).get(label)
                labels = [str(rows[n][column] or "") if column else "" for n in at]
            by_domain[name] = _DomainTexts(name, texts, pairs, labels)
    return by_domain


@dataclass(frozen=True, eq=False)
class _DomainTexts:
    """The texts of a domain's items, empty where there is none, and the pairs of its users."""

    name: str
    texts: list[str]
    pairs: Rows
    labels: list[str] | None

    def as_other(self) -> OtherDomain:
        """Return it as a domain whose quality must not fall.

        With enough pairs, it consists of the items of its pairs alone.
        """
        has_text = np.array([bool(text) for text in self.texts], bool)
        pairs = self.pairs[has_text[self.pairs].all(axis=1)]
        if len(pairs) >= MIN_PAIRS:
            kept, rows = np.unique(pairs, return_inverse=True)
            texts = [self.texts[row] for row in kept]
            return OtherDomain(self.name, texts, pairs=rows.reshape(pairs.shape))
        kept = np.flatnonzero(has_text)
        labels = None if self.labels is None else [self.labels[row] for row in kept]
        return OtherDomain(self.name, [self.texts[row] for row in kept], labels)


def pairs_of_texts(texts: Sequence[str], pairs: Rows) -> ContentPairs:
    """Return pairs of items as pairs of their texts.

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
    unique_pairs = np.unique(np.sort(rows[pairs], axis=1), axis=0) if len(pairs) else pairs
    unique_pairs = unique_pairs[
        (unique_pairs[:, 0] >= 0) & (unique_pairs[:, 0] != unique_pairs[:, 1])
    ]
    if len(unique_pairs) < MIN_FINETUNE_PAIRS:
        raise InvalidInput(
            f"{len(unique_pairs)} pairs of items belong together by their users, and at least "
            f"{MIN_FINETUNE_PAIRS} are needed; add interactions, or ask for fewer users in common "
            "with min_common_users (--min-common-users)"
        )
    return ContentPairs(
        ["text"] * len(place),
        list(place),
        [digest(text) for text in place],
        unique_pairs,
        ordered=False,
        rows_read=len(pairs),
    )


def _positives(item_ids: Sequence[str], interactions: pa.Table, feedback: Feedback) -> csr_matrix:
    columns = {item: number for number, item in enumerate(item_ids)}
    matrix = InteractionMatrix.from_table(
        interactions,
        lambda ids: np.array([columns.get(item, -1) for item in ids], np.int64),
        len(item_ids),
        feedback=feedback,
    )
    return matrix.liked
