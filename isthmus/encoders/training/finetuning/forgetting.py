"""Other domains: texts whose vectors are to stay of use, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.training.distillation.inputs import Contents, gather_contents
from isthmus.encoders.training.finetuning.quality import LabelTruth, PairTruth, Truth
from isthmus.encoders.training.finetuning.splits import (
    LEARNING,
    Pairs,
    Rows,
    draw_parts,
    keys_by_pairs,
    pairs_within,
)

CHOOSING_SHARE: Final = 0.2
MEASURING_SHARE: Final = 0.3
MOST_CHOOSING: Final = 1_000  # they are encoded for every choice there is
MOST_MEASURING: Final = 2_500
MOST_ANCHORS: Final = 1_000
FEW_ALIKE: Final = 20  # texts a label, up to which those of one label are kept together


@dataclass(frozen=True)
class OtherDomain:
    """Texts of another domain, and what belongs together there.

    Attributes
    ----------
    name : str
        What the report calls it.
    texts : list of str
        Its texts.
    labels : list of str, optional
        Of each text, empty where it has none: texts of one label belong together.
    pairs : numpy.ndarray, optional
        int64, shape (n_pairs, 2): rows of texts that belong together, in the place of labels.
        With neither, what was near before is what should be near.
    """

    name: str
    texts: list[str]
    labels: list[str] | None = None
    pairs: Pairs | None = None


@dataclass(frozen=True, eq=False)
class DividedDomain:
    """Another domain with its texts divided: to hold on to, to choose on, to measure on.

    Attributes
    ----------
    domain : OtherDomain
        The domain, each text of it once.
    digests : list of bytes
        Of each text.
    parts : numpy.ndarray
        int64, shape (n_texts,): see `draw_parts`.
    """

    domain: OtherDomain
    digests: list[bytes] = field(repr=False)
    parts: Rows = field(repr=False)

    @property
    def anchors(self) -> list[str]:
        """The texts to hold on to, at most `MOST_ANCHORS`, drawn by their digests."""
        rows = sorted(self.rows(LEARNING).tolist(), key=lambda row: self.digests[row])
        return [self.domain.texts[row] for row in rows[:MOST_ANCHORS]]

    def rows(self, part: int) -> Rows:
        """Give the texts of a part."""
        return np.flatnonzero(self.parts == part)

    def truth(self, part: int) -> Truth | None:
        """Tell what belongs together among the texts of a part; None where nothing is known."""
        rows = self.rows(part)
        if self.domain.pairs is not None:
            places = np.full(len(self.parts), -1)
            places[rows] = np.arange(len(rows))
            own = pairs_within(self.domain.pairs, self.parts, part)
            return PairTruth(len(rows), places[own])
        if self.domain.labels is not None:
            return LabelTruth([self.domain.labels[row] for row in rows])
        return None


def divide_domain(domain: OtherDomain, seed: int) -> DividedDomain:
    """Divide another domain, each text once."""
    domain = _distinct(domain)
    digests = [digest(text) for text in domain.texts]
    keys = _keys(domain, digests)
    count = max(len(digests), 1)
    shares = (
        min(CHOOSING_SHARE, MOST_CHOOSING / count),
        min(MEASURING_SHARE, MOST_MEASURING / count),
    )
    return DividedDomain(domain, digests, draw_parts(keys, *shares, seed))


def gather_domains(
    given: Sequence[Any], text: str | None = None, label: str | None = None
) -> list[OtherDomain]:
    """Read other domains, each from a file or whatever else holds rows or texts.

    Parameters
    ----------
    given : sequence
        `OtherDomain`, or what `gather_contents` takes.
    text, label : str, optional
        Template of the text; column of the label.
    """
    names: dict[str, int] = {}
    found = []
    for number, one in enumerate(given):
        if isinstance(one, OtherDomain):
            found.append(one)
            continue
        contents: Contents = gather_contents(one, "text", text, label)
        name = Path(one).stem if isinstance(one, (str, Path)) else f"other {number + 1}"
        names[name] = names.get(name, 0) + 1
        name = f"{name} {names[name]}" if names[name] > 1 else name
        found.append(OtherDomain(name, contents.values, contents.labels))
    return found


def _distinct(domain: OtherDomain) -> OtherDomain:
    place: dict[str, int] = {}
    own = np.array([place.setdefault(text, len(place)) for text in domain.texts], np.int64)
    first = np.unique(own, return_index=True)[1]
    labels = None if domain.labels is None else [domain.labels[at] for at in first]
    pairs = domain.pairs
    if pairs is not None:
        pairs = np.unique(np.sort(own[pairs], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return OtherDomain(domain.name, list(place), labels, pairs)


def _keys(domain: OtherDomain, digests: list[bytes]) -> list[bytes]:
    if domain.pairs is not None:
        return keys_by_pairs(digests, domain.pairs)
    labels = domain.labels
    if labels is not None and len(labels) <= FEW_ALIKE * len(set(labels)):
        return [label.encode() or own for label, own in zip(labels, digests, strict=True)]
    return digests
