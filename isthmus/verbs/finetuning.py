"""The fine-tuning verb of a space: what its users take together is what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.digests import digest
from isthmus.encoders.training.finetuning.pairs import LEAST, ContentPairs
from isthmus.encoders.training.finetuning.quality import OtherDomain
from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.retrieval.candidates.co_occurrence_pairs import (
    LEAST_COMMON,
    MOST_EACH,
    Rows,
    co_consumed,
)
from isthmus.schema import DOMAIN, ITEM_ID, TEXT
from isthmus.verbs.open_space import OpenSpace

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_matrix

    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.encoders.training.finetuning.settings import FinetuneSettings

ENOUGH: Final = 100  # pairs of another domain, to measure it by them


class SpaceFinetuning(OpenSpace):
    """The part of `isthmus.Space` that trains its encoders further."""

    def finetune(
        self,
        target: str,
        out: str | Path,
        *,
        encoder: str | None = None,
        label: str | None = None,
        least_common: int = LEAST_COMMON,
        most_each: int = MOST_EACH,
        positive_from: float | None = None,
        settings: FinetuneSettings | None = None,
        device: str = "auto",
        progress: bool = False,
    ) -> FinetuneReport:
        """Train a text encoder further on what users take together in a domain.

        The space stays as it is: `reembed` moves it to the encoder that was made. What the other
        domains lose is measured, and kept small. A fine-tuning that was interrupted goes on when
        it is started again.

        Parameters
        ----------
        target : str
            The domain to learn from.
        out : str or Path
            Folder for the encoder; new, or that of a fine-tuning.
        encoder : str, optional
            Spec of the encoder to start from; by default that of the space's texts.
        label : str, optional
            An attribute by which items of the other domains belong together, where their users
            do not tell.
        least_common : int, default 2
            Users in common that two items need to be a pair.
        most_each : int, default 10
            Pairs that an item keeps, the best by cosine of their users.
        positive_from : float, optional
            Least value that counts; by default four fifths of the largest value, or whatever is
            above zero where all values are equal.
        settings : FinetuneSettings, optional
            How.
        device : str, default "auto"
            Where the encoder runs.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        FinetuneReport
            Also written to ``finetuning.json`` in `out`.

        Raises
        ------
        InvalidInput
            If the domain is unknown, or too few items belong together.
        UnsupportedOperation
            If the space has no texts.
        """
        from isthmus.encoders.training.finetuning.finetune import finetune

        spec = encoder or self._text_spec()
        domains = self._domains_told_by_users(label, least_common, most_each, positive_from)
        if target not in domains:
            raise InvalidInput(
                f"no domain {target!r} with texts in this space; there are: "
                f"{', '.join(sorted(domains)) or 'none'}"
            )
        own = domains.pop(target)
        return finetune(
            spec,
            pairs_of_texts(own.texts, own.pairs),
            out,
            others=[one.as_other() for one in domains.values()],
            settings=settings,
            device=device,
            progress=progress,
        )

    def _text_spec(self) -> str:
        if "text" not in self.settings.encoders:
            raise UnsupportedOperation("this space has no encoder of text that could be trained")
        return self.settings.encoders["text"]

    def _domains_told_by_users(
        self, label: str | None, least_common: int, most_each: int, positive_from: float | None
    ) -> dict[str, _TextsOfDomain]:
        """Give the texts of each domain, and which belong together by their users."""
        interactions, least = self._learnable(positive_from)
        snapshot = self._live.now().snapshot
        if label is not None and label not in snapshot.attributes.names:
            raise InvalidInput(
                f"no attribute {label!r} in this space; there are: "
                f"{', '.join(snapshot.attributes.names) or 'none'}"
            )
        columns = [ITEM_ID, DOMAIN, TEXT, *([label] if label else [])]
        rows = [row for batch in snapshot.batches(columns) for row in batch.to_pylist()]
        likes = _likes([row[ITEM_ID] for row in rows], interactions, least)
        found = {}
        for name in sorted({row[DOMAIN] for row in rows}):
            at = [number for number, row in enumerate(rows) if row[DOMAIN] == name]
            texts = [(rows[number][TEXT] or "").strip() for number in at]
            if any(texts):
                pairs = co_consumed(
                    likes[:, at].tocsr(), least_common=least_common, most_each=most_each
                )
                labels = [str(rows[n][label] or "") for n in at] if label else None
                found[name] = _TextsOfDomain(name, texts, pairs, labels)
        return found


@dataclass(frozen=True, eq=False)
class _TextsOfDomain:
    """The texts of a domain's items, empty where there is none, and what belongs together."""

    name: str
    texts: list[str]
    pairs: Rows
    labels: list[str] | None

    def as_other(self) -> OtherDomain:
        """Give it as a domain that is not to be forgotten.

        Where its users tell enough, it is the items that they tell something of.
        """
        there = np.array([bool(text) for text in self.texts], bool)
        pairs = self.pairs[there[self.pairs].all(axis=1)]
        if len(pairs) >= ENOUGH:
            kept, rows = np.unique(pairs, return_inverse=True)
            texts = [self.texts[row] for row in kept]
            return OtherDomain(self.name, texts, pairs=rows.reshape(pairs.shape))
        kept = np.flatnonzero(there)
        labels = None if self.labels is None else [self.labels[row] for row in kept]
        return OtherDomain(self.name, [self.texts[row] for row in kept], labels)


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


def _likes(item_ids: Sequence[str], interactions: pa.Table, least: float | None) -> csr_matrix:
    columns = {item: number for number, item in enumerate(item_ids)}
    matrix = InteractionMatrix.from_table(
        interactions,
        lambda wanted: np.array([columns.get(item, -1) for item in wanted], np.int64),
        len(item_ids),
        positive_from=least,
    )
    return matrix.liked
