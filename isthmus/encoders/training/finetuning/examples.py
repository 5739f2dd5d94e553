"""All contents of a fine-tuning, one after the other: pairs' own, and anchors of other domains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from isthmus.encoders.training.finetuning.pairs import ContentPairs
from isthmus.schema import Modality

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder


class Examples:
    """The contents of the pairs, then the texts to hold on to.

    Parameters
    ----------
    contents : ContentPairs
        The pairs.
    anchors : sequence of str
        Texts of other domains.

    Attributes
    ----------
    modalities : list of str
        Of each content.
    """

    def __init__(self, contents: ContentPairs, anchors: Sequence[str]) -> None:
        self._contents, self._anchors = contents, list(anchors)
        texts: list[Modality] = ["text"] * len(self._anchors)
        self.modalities: list[Modality] = [*contents.modalities, *texts]

    def __len__(self) -> int:
        return len(self.modalities)

    @property
    def anchor_rows(self) -> range:
        """The rows of the texts to hold on to."""
        return range(len(self._contents), len(self))

    def load(self, rows: Iterable[int]) -> list[Any]:
        """Give contents as an encoder takes them."""
        own = len(self._contents)
        return [
            self._anchors[row - own] if row >= own else self._contents.load([row])[0]
            for row in rows
        ]

    def prepare(self, encoder: TorchEncoder) -> list[Any]:
        """Tokenise all texts at once; pictures are too large for that, and stay None."""
        rows = [row for row, modality in enumerate(self.modalities) if modality == "text"]
        prepared: list[Any] = [None] * len(self)
        tokens = encoder.prepare(self.load(rows), "text") if rows else []
        for row, own in zip(rows, tokens, strict=True):
            prepared[row] = own
        return prepared
