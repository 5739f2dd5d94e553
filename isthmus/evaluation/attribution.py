"""Where truth is lost: no source proposed it, or the ranking put it too low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.evaluation.lists import ItemLists, clean_lists
from isthmus.evaluation.task import Task


@dataclass(frozen=True)
class Attribution:
    """The fate of every hidden item, all users together.

    Attributes
    ----------
    k : int
        An item is found within this rank.
    found, ranked_below, never_candidate : int
        Hidden items that were found; that a source proposed but that are ranked below k or left
        out; that no source proposed.
    """

    k: int
    found: int
    ranked_below: int
    never_candidate: int


@dataclass(frozen=True)
class SourceCoverage:
    """What a source of candidates reaches.

    Attributes
    ----------
    source : str
        Its name.
    recall : float
        Mean over users of the share of the truth in its first k.
    alone : float
        Mean over users of the share of the truth that is in its first k and in no other's.
    """

    source: str
    recall: float
    alone: float


def attribute(
    task: Task, lists: Sequence[Sequence[str]], sources: Mapping[str, ItemLists], k: int
) -> Attribution:
    """Say of each hidden item what became of it.

    Parameters
    ----------
    task : Task
        The task.
    lists : sequence of sequence of str
        The clean list of each user.
    sources : mapping of str to sequence of sequence of str
        The candidates of each source, as deep as they went; what a list shows counts as proposed.
    k : int
        An item is found within this rank.
    """
    proposed = [set(found) for found in lists]
    for of_users in sources.values():
        for own, items in zip(proposed, of_users, strict=True):
            own.update(map(str, items))
    found = below = 0
    for user, items, own in zip(task.users, lists, proposed, strict=True):
        shown = set(items[:k])
        found += sum(item in shown for item in user.truth)
        below += sum(item in own and item not in shown for item in user.truth)
    hidden = sum(len(user.truth) for user in task.users)
    return Attribution(k, found, below, hidden - found - below)


def cover(
    task: Task, sources: Mapping[str, ItemLists], k: int = 200
) -> tuple[list[SourceCoverage], float]:
    """Give what each source reaches with its first k, and the recall of all of them together.

    Items that are no candidates or excluded take no places.
    """
    own = {
        name: [set(items) for items in clean_lists(task, lists, k)]
        for name, lists in sources.items()
    }
    recalls = {name: np.zeros(len(task.users)) for name in own}
    alone = {name: np.zeros(len(task.users)) for name in own}
    union = np.zeros(len(task.users))
    for row, user in enumerate(task.users):
        share = 1 / len(user.truth)
        for item in user.truth:
            having = [name for name, of_users in own.items() if item in of_users[row]]
            for name in having:
                recalls[name][row] += share
            if len(having) == 1:
                alone[having[0]][row] += share
            union[row] += share * bool(having)
    covered = [SourceCoverage(n, float(recalls[n].mean()), float(alone[n].mean())) for n in own]
    return covered, float(union.mean())
