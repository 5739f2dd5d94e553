"""Results by how much is known of a user, and by domain, popularity and modalities of the truth.

Users are parted by evidence: the interactions that a system may see, in the target domain and
outside it. Truth is parted item by item: by its domain, by the number of users that know it, and
by the modalities that it has (whether items without a picture are found as well as those with one
shows there). Its figure is the share of the hidden items of the part that are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.evaluation.task import Task
from isthmus.numerics.arrays import Counts
from isthmus.numerics.statistics import Estimate, estimate, ratio_estimate

EVIDENCE = (0, 1, 3, 5, 10)
POPULARITY = (0, 5, 20, 100)
TARGET_EVIDENCE = "target interactions"
SOURCE_EVIDENCE = "source interactions"
TRUTH_DOMAIN = "domain of the truth"
TRUTH_POPULARITY = "users of the truth"
TRUTH_MODALITIES = "modalities of the truth"


@dataclass(frozen=True)
class Bucket:
    """A part of a task and a figure on it.

    Attributes
    ----------
    by, name : str
        What it is parted by, and which part it is.
    users, truth : int
        How many users, and hidden items, it holds.
    metric : str
        What the figure is.
    figure : Estimate or None
        The figure with its interval; None where the interval cannot be told.
    """

    by: str
    name: str
    users: int
    truth: int
    metric: str
    figure: Estimate | None


def bucket_names(edges: Sequence[int]) -> list[str]:
    """Name the parts that end at each edge, and the one behind the last.

    Examples
    --------
    >>> bucket_names((0, 1, 3, 5, 10))
    ['0', '1', '2-3', '4-5', '6-10', '>10']
    """
    starts = [0, *(edge + 1 for edge in edges[:-1])]
    pairs = zip(starts, edges, strict=True)
    spans = [str(end) if start == end else f"{start}-{end}" for start, end in pairs]
    return [*spans, f">{edges[-1]}"]


def by_evidence(
    task: Task, values: np.ndarray, metric: str, *, resamples: int = 2_000, seed: int = 0
) -> list[Bucket]:
    """Part users by what is known of them, in the target domain and outside it.

    Parameters
    ----------
    task : Task
        The task.
    values : numpy.ndarray
        The figure of each user, shape (n_users,).
    metric : str
        Its name.
    resamples, seed : int
        Of the intervals.
    """
    target = np.array([task.known_in_target(user) for user in task.users], np.int64)
    known = np.array([len(set(u.history).union(u.exclude)) for u in task.users], np.int64)
    truths = np.array([len(user.truth) for user in task.users], np.int64)
    out = []
    for by, counts in ((TARGET_EVIDENCE, target), (SOURCE_EVIDENCE, known - target)):
        part = np.searchsorted(EVIDENCE, counts)
        for number, name in enumerate(bucket_names(EVIDENCE)):
            own = part == number
            if own.any():
                figure = estimate(values[own], resamples=resamples, seed=seed)
                n, hidden = int(own.sum()), int(truths[own].sum())
                out.append(Bucket(by, name, n, hidden, metric, figure))
    return out


def by_truth(
    task: Task,
    ranks: Sequence[Counts],
    k: int,
    modalities: Mapping[str, str] | None = None,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[Bucket]:
    """Part the truth by its domain, its popularity, and its modalities where there are several.

    Parameters
    ----------
    task : Task
        The task.
    ranks : sequence of numpy.ndarray
        For each user, the rank of each item of the truth; 0 where it is absent.
    k : int
        An item is found within this rank.
    modalities : mapping of str to str, optional
        The modalities of each item, as one name.
    resamples, seed : int
        Of the intervals, over users.
    """
    names = bucket_names(POPULARITY)
    popularity = task.popularity

    def popular(item: str) -> str:
        return names[int(np.searchsorted(POPULARITY, popularity.get(item, 0)))]

    def domain(item: str) -> str:
        return task.domains.get(item, task.target_domain or "unknown")

    domains = sorted({domain(item) for user in task.users for item in user.truth})
    out = []
    partings: list[tuple[str, Sequence[str], Callable[[str], str]]] = [
        (TRUTH_DOMAIN, domains, domain),
        (TRUTH_POPULARITY, names, popular),
    ]
    held = {item: modalities.get(item, "none") for item in task.candidates} if modalities else {}
    if len(set(held.values())) > 1:
        partings.append((TRUTH_MODALITIES, sorted(set(held.values())), held.__getitem__))
    for by, parts, part_of in partings:
        found, hidden = _count(task, ranks, k, parts, part_of)
        for place, name in enumerate(parts):
            own = hidden[:, place] > 0
            if own.any():
                figure = ratio_estimate(
                    found[own, place], hidden[own, place], resamples=resamples, seed=seed
                )
                items = int(hidden[:, place].sum())
                out.append(Bucket(by, name, int(own.sum()), items, f"found@{k}", figure))
    return out


def _count(
    task: Task,
    ranks: Sequence[Counts],
    k: int,
    parts: Sequence[str],
    part_of: Callable[[str], str],
) -> tuple[np.ndarray, np.ndarray]:
    """Count the hidden items of each user in each part that were found, and all of them."""
    place = {name: number for number, name in enumerate(parts)}
    found = np.zeros((len(task.users), len(parts)))
    hidden = np.zeros_like(found)
    for row, (user, own) in enumerate(zip(task.users, ranks, strict=True)):
        for item, rank in zip(user.truth, own.tolist(), strict=True):
            column = place[part_of(item)]
            hidden[row, column] += 1
            found[row, column] += 0 < rank <= k
    return found, hidden
