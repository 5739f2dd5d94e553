"""Search parameters of an index, and the smallest that reach a recall."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict, Field

TOLERANCE = (
    1 / 32
)  # how far above the smallest sufficient number the result may lie, relative to it


class SearchParameters(BaseModel):
    """How much of an index a search looks at; the names are those of FAISS.

    Attributes
    ----------
    nprobe : int or None
        Lists of an inverted file that a query scans.
    ef_search : int or None
        Length of the candidate list of an HNSW graph.
    refine_factor : int
        Candidates per result that are scored again, in finer codes (FAISS's ``k_factor``) or by
        the vectors themselves; 1 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    nprobe: int | None = Field(default=None, ge=0)
    ef_search: int | None = Field(default=None, ge=0)
    refine_factor: int = Field(default=1, ge=1)

    @property
    def width(self) -> int:
        """The search width: `nprobe` or `ef_search`; 0 where the family has neither."""
        return self.nprobe or self.ef_search or 0

    def __str__(self) -> str:
        parts = [f"nprobe={self.nprobe}"] if self.nprobe else []
        parts += [f"ef_search={self.ef_search}"] if self.ef_search else []
        parts += [f"refine_factor={self.refine_factor}"] if self.refine_factor > 1 else []
        return " ".join(parts)


def smallest_sufficient(
    recall: Callable[[int], float],
    first: int,
    maximum: int,
    target: float,
    *,
    min_gain: float | None = None,
) -> int | None:
    """Return about the smallest number with which a recall is reached.

    The number is doubled until it suffices, then bisected between that and the last that did not.
    The result was measured to suffice, and a number 1/32 smaller (or smaller by one) was not.

    Parameters
    ----------
    recall : callable
        Returns the recall with a number. It is costly, and rises but for noise.
    first, maximum : int
        The first number tried, and the greatest.
    target : float
        The recall to reach.
    min_gain : float, optional
        A doubling that gains less ends the search.

    Returns
    -------
    int or None
        None where none suffices.
    """
    too_small, previous = 0, None
    for number in _doubling(first, maximum):
        reached = recall(number)
        if reached >= target:
            return _bisect(recall, too_small, number, target)
        if min_gain is not None and previous is not None and reached - previous < min_gain:
            return None
        too_small, previous = number, reached
    return None


def _bisect(recall: Callable[[int], float], low: int, high: int, target: float) -> int:
    """Bisect between a number that misses the target and one that reaches it."""
    while high - low > max(1, high * TOLERANCE):
        middle = (low + high) // 2
        if recall(middle) >= target:
            high = middle
        else:
            low = middle
    return high


def _doubling(first: int, maximum: int) -> Iterator[int]:
    number = min(first, maximum)
    while number < maximum:
        yield number
        number *= 2
    yield maximum
