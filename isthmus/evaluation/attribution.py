"""Where truth is lost: it was never a candidate, or the ranking put it too low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.evaluation.lists import ItemLists, clean_lists
from isthmus.evaluation.task import Task


@dataclass(frozen=True)
class Attribution:
    """What became of every hidden item, all users together.

    Attributes
    ----------
    k : int
        An item is found within this rank.
    found, ranked_below, never_candidate : int
        Hidden items that were found; that were candidates but are ranked below k or left out;
        that were never candidates.
    """

    k: int
    found: int
    ranked_below: int
    never_candidate: int


@dataclass(frozen=True)
class GeneratorCoverage:
    """How much of the truth a candidate generator reaches.

    Attributes
    ----------
    generator : str
        Its name.
    recall : float
        Mean over users of the share of the truth in its first k.
    unique : float
        Mean over users of the share of the truth that is in its first k and in no other's.
    """

    generator: str
    recall: float
    unique: float


def attribute(
    task: Task, lists: Sequence[Sequence[str]], generators: Mapping[str, ItemLists], k: int
) -> Attribution:
    """Count what became of the hidden items.

    Parameters
    ----------
    task : Task
        The task.
    lists : sequence of sequence of str
        The clean list of each user.
    generators : mapping of str to sequence of sequence of str
        All candidates of each candidate generator; the items of a list count as candidates.
    k : int
        An item is found within this rank.
    """
    candidates = [set(items) for items in lists]
    for lists_of_generator in generators.values():
        for of_user, items in zip(candidates, lists_of_generator, strict=True):
            of_user.update(map(str, items))
    found = below = 0
    for user, items, of_user in zip(task.users, lists, candidates, strict=True):
        top = set(items[:k])
        found += sum(item in top for item in user.truth)
        below += sum(item in of_user and item not in top for item in user.truth)
    n_hidden = sum(len(user.truth) for user in task.users)
    return Attribution(k, found, below, n_hidden - found - below)


def generator_coverage(
    task: Task, generators: Mapping[str, ItemLists], k: int = 200
) -> tuple[list[GeneratorCoverage], float]:
    """Return what each candidate generator reaches with its first k, and the recall of their union.

    Items that are no candidates of the task, or are excluded, take no places.
    """
    top = {
        name: [set(items) for items in clean_lists(task, lists, k)]
        for name, lists in generators.items()
    }
    recalls = {name: np.zeros(len(task.users)) for name in top}
    unique = {name: np.zeros(len(task.users)) for name in top}
    union = np.zeros(len(task.users))
    for row, user in enumerate(task.users):
        share = 1 / len(user.truth)
        for item in user.truth:
            reached_by = [name for name, of_users in top.items() if item in of_users[row]]
            for name in reached_by:
                recalls[name][row] += share
            if len(reached_by) == 1:
                unique[reached_by[0]][row] += share
            union[row] += share * bool(reached_by)
    coverage = [
        GeneratorCoverage(name, float(recalls[name].mean()), float(unique[name].mean()))
        for name in top
    ]
    return coverage, float(union.mean())
