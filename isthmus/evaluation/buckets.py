"""Metrics by situation: cold-start, few-shot and warm users; domain, popularity, modality of truth.

Users are grouped by evidence: the number of items that a system may see, in the target domain and
outside it (0 is a cold-start user), and in all; and by their attributes, where users have some.
Hidden items are grouped by domain, by the number of their users in the train table (0 is a
cold-start item), and by modalities, which shows whether items without a picture are found as well
as those with one. The metric of such a bucket is the share of its hidden items that are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.evaluation.task import Task
from isthmus.numerics.arrays import Counts
from isthmus.numerics.statistics import Estimate, estimate, ratio_estimate

EVIDENCE = (0, 1, 3, 5, 10)
LENGTHS = (0, 5, 10, 20, 50, 100)
POPULARITY = (0, 5, 20, 100)
TARGET_EVIDENCE = "target interactions"
SOURCE_EVIDENCE = "source interactions"
HISTORY_LENGTH = "length of the history"
USER_ATTRIBUTE = "user attribute "  # before the name of one
UNKNOWN = "unknown"
OTHERS = "others"
MAX_SEGMENTS = 8  # of an attribute; the users of its less frequent values are the others
TRUTH_DOMAIN = "domain of the truth"
TRUTH_POPULARITY = "users of the truth"
TRUTH_MODALITIES = "modalities of the truth"


@dataclass(frozen=True)
class Bucket:
    """A part of a task and a metric on it.

    Attributes
    ----------
    by, name : str
        The criterion, and the name of the bucket.
    users, truth : int
        Numbers of users and of hidden items.
    metric : str
        The name of the metric.
    estimate : Estimate or None
        The value with its interval; None where the interval is undefined.
    """

    by: str
    name: str
    users: int
    truth: int
    metric: str
    estimate: Estimate | None


def bucket_names(edges: Sequence[int]) -> list[str]:
    """Return the names of the buckets that end at each edge, and of the one above the last.

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
    """Group users by their visible items, in the target domain, outside it, and in all.

    Parameters
    ----------
    task : Task
        The task.
    values : numpy.ndarray
        The metric of each user, shape (n_users,).
    metric : str
        Its name.
    resamples, seed : int
        Of the bootstrap.
    """
    target = np.array([task.visible_in_target(user) for user in task.users], np.int64)
    visible = np.array([len(set(u.history).union(u.exclude)) for u in task.users], np.int64)
    criteria = (
        (TARGET_EVIDENCE, target, EVIDENCE),
        (SOURCE_EVIDENCE, visible - target, EVIDENCE),
        (HISTORY_LENGTH, visible, LENGTHS),
    )
    out = []
    for by, counts, edges in criteria:
        names = np.array(bucket_names(edges), object)
        of_users = names[np.searchsorted(edges, counts)]
        out += _of_users(task, values, metric, by, names, of_users, resamples, seed)
    return out


def by_attributes(
    task: Task,
    values: np.ndarray,
    metric: str,
    attributes: Mapping[str, Mapping[str, str]],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[Bucket]:
    """Group users by each of their attributes: a bucket a value, the most frequent ones first.

    Parameters
    ----------
    task, values, metric, resamples, seed
        As for `by_evidence`.
    attributes : mapping of str to mapping of str to str
        For each attribute, the value of each user that has one.
    """
    out = []
    for attribute, value_of in attributes.items():
        known = Counter(value_of[user.user_id] for user in task.users if user.user_id in value_of)
        shown = [value for value, _ in sorted(known.items(), key=lambda pair: (-pair[1], pair[0]))]
        kept = set(shown[:MAX_SEGMENTS])
        of_users = np.array(
            [_segment(value_of.get(user.user_id), kept) for user in task.users], object
        )
        names = [*shown[:MAX_SEGMENTS], OTHERS, UNKNOWN]
        by = f"{USER_ATTRIBUTE}{attribute}"
        out += _of_users(task, values, metric, by, names, of_users, resamples, seed)
    return out


def _segment(value: str | None, kept: Collection[str]) -> str:
    if value is None:
        return UNKNOWN
    return value if value in kept else OTHERS


def _of_users(
    task: Task,
    values: np.ndarray,
    metric: str,
    by: str,
    names: Iterable[str],
    of_users: np.ndarray,
    resamples: int,
    seed: int,
) -> list[Bucket]:
    """Return the buckets that have users, where `of_users` names the bucket of each user."""
    truths = np.array([len(user.truth) for user in task.users], np.int64)
    out = []
    for name in dict.fromkeys(names):
        mask = np.asarray(of_users == name, bool)
        if mask.any():
            value = estimate(values[mask], resamples=resamples, seed=seed)
            n, hidden = int(mask.sum()), int(truths[mask].sum())
            out.append(Bucket(by, name, n, hidden, metric, value))
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
    """Group hidden items by domain, popularity, and modalities where there are several.

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
        Of the bootstrap over users.
    """
    names = bucket_names(POPULARITY)
    popularity = task.popularity

    def popularity_bucket(item: str) -> str:
        return names[int(np.searchsorted(POPULARITY, popularity.get(item, 0)))]

    def domain(item: str) -> str:
        return task.domains.get(item, task.target_domain or "unknown")

    domains = sorted({domain(item) for user in task.users for item in user.truth})
    out = []
    criteria: list[tuple[str, Sequence[str], Callable[[str], str]]] = [
        (TRUTH_DOMAIN, domains, domain),
        (TRUTH_POPULARITY, names, popularity_bucket),
    ]
    modality_of = (
        {item: modalities.get(item, "none") for item in task.candidates} if modalities else {}
    )
    if len(set(modality_of.values())) > 1:
        criteria.append(
            (TRUTH_MODALITIES, sorted({*modality_of.values()}), modality_of.__getitem__)
        )
    for by, buckets, bucket_of in criteria:
        found, hidden = _count(task, ranks, k, buckets, bucket_of)
        for column, name in enumerate(buckets):
            mask = hidden[:, column] > 0
            if mask.any():
                value = ratio_estimate(
                    found[mask, column], hidden[mask, column], resamples=resamples, seed=seed
                )
                items = int(hidden[:, column].sum())
                out.append(Bucket(by, name, int(mask.sum()), items, f"found@{k}", value))
    return out


def _count(
    task: Task,
    ranks: Sequence[Counts],
    k: int,
    buckets: Sequence[str],
    bucket_of: Callable[[str], str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden items of each user in each bucket that were found, and all of them.

    Both are float64, shape (n_users, n_buckets).
    """
    column_of = {name: column for column, name in enumerate(buckets)}
    found = np.zeros((len(task.users), len(buckets)))
    hidden = np.zeros_like(found)
    for row, (user, ranks_of_user) in enumerate(zip(task.users, ranks, strict=True)):
        for item, rank in zip(user.truth, ranks_of_user.tolist(), strict=True):
            column = column_of[bucket_of(item)]
            hidden[row, column] += 1
            found[row, column] += 0 < rank <= k
    return found, hidden
