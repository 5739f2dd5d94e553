"""The least effort that reaches a recall, found by doubling and then halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict, Field

FINE = 1 / 32  # how far above the least the answer may lie, as a part of it


def smallest_sufficient(
    recall: Callable[[int], float],
    first: int,
    most: int,
    target: float,
    *,
    least_gain: float | None = None,
) -> int | None:
    """Find about the least number with which a recall is reached.

    It is doubled until it suffices, then narrowed between that and the last that did not. What is
    given has been measured to suffice, and a number 1/32 smaller (or smaller by one) not to.

    Parameters
    ----------
    recall : callable
        Gives the recall with a number; costly, and rising but for noise.
    first, most : int
        The smallest number tried at first, and the greatest.
    target : float
        The recall to reach.
    least_gain : float, optional
        A doubling that gains less ends the search.

    Returns
    -------
    int or None
        None where none suffices.
    """
    low, last = 0, None
    for number in _doubling(first, most):
        reached = recall(number)
        if reached >= target:
            return _narrow(recall, low, number, target)
        if least_gain is not None and last is not None and reached - last < least_gain:
            return None
        low, last = number, reached
    return None


def _narrow(recall: Callable[[int], float], low: int, high: int, target: float) -> int:
    """Narrow between a number that misses the target and one that reaches it."""
    while high - low > max(1, high * FINE):
        middle = (low + high) // 2
        if recall(middle) >= target:
            high = middle
        else:
            low = middle
    return high


def _doubling(first: int, most: int) -> Iterator[int]:
    number = min(first, most)
    while number < most:
        yield number
        number *= 2
    yield most


class SearchParameters(BaseModel):
    """How hard a search tries.

    Attributes
    ----------
    visits : int
        Cells of an inverted file that a query visits (FAISS calls it nprobe), or the length of
        an HNSW graph's candidate list (efSearch); 0 where the recipe has no such choice.
    depth : int
        Candidates for each result that are scored again, in finer codes (k_factor) or by the
        vectors themselves; 1 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    visits: int = Field(default=0, ge=0)
    depth: int = Field(default=1, ge=1)

    def __str__(self) -> str:
        named = [f"visits={self.visits}"] if self.visits else []
        return " ".join([*named, *([f"depth={self.depth}"] if self.depth > 1 else [])])
