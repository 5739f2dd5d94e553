"""Cross-domain users where nobody is in the target and in another domain: the target is divided.

Without shared users no history in another domain says what it is worth in the target. So the items
of the target are divided by content into two halves with as many likes, and one half is taken for
another domain. Of the users of both halves, what they liked in the other half is shown, and what
they liked in the target's is hidden. Candidate generators learn from data in which these users bear
two names, one in each half: they learn as little of shared users as they do in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.numerics.arrays import Mask
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.situations import CROSS_DOMAIN
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.examples import Examples, join_examples, make_examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ENOUGH_SHARED = 20  # users in the target and in another domain; fewer teach too little
DIVISIONS = 2
OTHER_HALF = "other half"


def shares_too_few_users(data: TrainingData, target: int) -> bool:
    """Return whether other domains have users, and hardly any of them is in the target."""
    inside = data.domain_users(target)
    codes = (code for code in range(len(data.domain_names)) if code != target)
    others = np.zeros_like(inside)
    for code in codes:
        others |= data.domain_users(code)
    return bool(others.any() and (inside & others).sum() < ENOUGH_SHARED)


def divided_examples(
    data: TrainingData,
    fitted: Callable[[TrainingData], tuple[CandidateGenerators, ItemStatistics]],
    target: int,
    settings: ExampleSettings,
    *,
    columns: Sequence[str] | None = None,
    show: bool = False,
) -> Examples | None:
    """Make examples of users who are known in another domain only, from the target alone.

    Parameters
    ----------
    data, fitted, target, settings, columns, show
        As for `make_examples`. The examples are of as many users as those of a situation.

    Returns
    -------
    Examples or None
        None where items have no content, or nobody is in both halves.
    """
    if not data.contents[data.in_domain(target)].any():
        return None
    users = -(-settings.users // DIVISIONS)
    parts = []
    for division in range(DIVISIONS):
        divided = divide(data, target, division)
        by_situation = make_examples(
            divided,
            lambda visible: fitted(sever(visible, target)),
            target,
            replace(settings, folds=1, users=users, seed=settings.seed + division),
            columns=columns,
            situations=(CROSS_DOMAIN,),
            show=show,
        )
        parts += list(by_situation.values())
    return join_examples(parts) if parts else None


def divide(data: TrainingData, target: int, division: int) -> TrainingData:
    """Return the interactions of a target with half of its items in a domain of their own.

    Parameters
    ----------
    data : TrainingData
        Items and interactions; those of other domains are left out.
    target : int
        Code of the domain that is divided. Its items of the other half get a new code.
    division : int
        Which component of the contents divides the items, 0 for the leading one. The first half
        stays in the target where it is even, the second where it is odd.
    """
    inside = data.in_domain(target)
    moved = inside & (_first_half(data, inside, division) == (division % 2 == 1))
    domains = np.where(moved, len(data.domain_names), data.domains)
    return replace(
        data,
        domain_names=(*data.domain_names, OTHER_HALF),
        domains=domains,
        interactions=data.interactions.restricted_to(inside),
        targets=(data.domain_names[target],),
        _content_graph=[_within(data.content_graph, domains)],
        _projected=[],  # contents are centred by domain
    )


def sever(data: TrainingData, target: int) -> TrainingData:
    """Return the data with two users in the place of each: one of the target, one of the rest."""
    matrix, inside = data.interactions, data.in_domain(target)
    parts = matrix.restricted_to(inside), matrix.restricted_to(~inside)
    first, second = parts
    severed = InteractionMatrix(
        users=np.concatenate([matrix.users, matrix.users]),
        items=matrix.items,
        starts=np.concatenate([first.starts, first.starts[-1] + second.starts[1:]]),
        columns=np.concatenate([part.columns for part in parts]),
        strengths=np.concatenate([part.strengths for part in parts]),
        moments=np.concatenate([part.moments for part in parts]),
        likes=np.concatenate([part.likes for part in parts]),
    )
    return replace(data, interactions=severed)


def _first_half(data: TrainingData, inside: Mask, component: int) -> Mask:
    """Return the items below the median like along a component of content, (n_items,)."""
    items = np.flatnonzero(inside)
    contents = data.contents[items].astype(np.float64)
    contents -= contents.mean(axis=0)
    _, vectors = np.linalg.eigh(contents.T @ contents)  # the leading one is the last
    order = items[np.argsort(contents @ vectors[:, -1 - component], kind="stable")]
    likes = np.cumsum(data.popularity[order])
    first = np.zeros(len(data), bool)
    first[order[likes <= likes[-1] / 2]] = True
    return first


def _within(graph: csr_array, domains: np.ndarray) -> csr_array:
    """Return the edges of a graph between items of one domain."""
    from scipy.sparse import csr_array

    edges = graph.tocoo()
    kept = domains[edges.row] == domains[edges.col]
    entries = edges.data[kept], (edges.row[kept], edges.col[kept])
    return csr_array(entries, shape=graph.shape)
