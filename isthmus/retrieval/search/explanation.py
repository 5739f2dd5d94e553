"""Why an item is in a list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HistoryReason:
    """What an item of the history did for a recommended item.

    Attributes
    ----------
    item_id : str
        The item of the history; for what a user said, the item that stands for it.
    gain : float
        How much the head's score falls when the item is taken out of the history.
    similarity : dict of str to float
        Cosine of the two items in each block of content that both have.
    """

    item_id: str
    gain: float
    similarity: dict[str, float]


@dataclass(frozen=True)
class SourceReason:
    """What a source of candidates did for a recommended item.

    Attributes
    ----------
    name : str
        The source.
    rank : int or None
        Place in its list; None where it did not propose the item.
    gain : float
        How much the head's score falls when the source says nothing.
    """

    name: str
    rank: int | None
    gain: float


@dataclass(frozen=True)
class ContentReason:
    """What the contents of a block (text, image) did for a recommended item.

    Attributes
    ----------
    name : str
        The block.
    gain : float
        How much the head's score falls when the head does not see the block's vectors, of the
        history and of the candidates. What sources found by them is told by the sources.
    """

    name: str
    gain: float


@dataclass(frozen=True)
class Explanation:
    """Why an item is in a list: every figure is a difference of the real score.

    Attributes
    ----------
    score : float
        The head's score, the logarithm of a share up to a constant.
    popularity : float
        The part of the score that is popularity alone, the same for everybody.
    personal : float
        The rest, which comes from what is known of the user.
    history : tuple of HistoryReason
        The largest gain first.
    sources : tuple of SourceReason
        The largest gain first.
    contents : tuple of ContentReason
        The largest gain first.
    """

    score: float
    popularity: float
    personal: float
    history: tuple[HistoryReason, ...]
    sources: tuple[SourceReason, ...]
    contents: tuple[ContentReason, ...]
