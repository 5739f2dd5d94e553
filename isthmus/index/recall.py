"""Recall, measured against exact search for every block, kind of query and domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from isthmus.encoders.encoder import FloatArray
from isthmus.index.exact import Positions
from isthmus.index.release import RecallRow
from isthmus.index.view import View

RECALL_AT = 10
QUERIES_A_DOMAIN = 200
SAME_SCORE = 1e-5

QueriesOf = Callable[[View, str, Positions], Iterator[tuple[str, FloatArray]]]


def measure_recall(view: View, queries_of: QueriesOf) -> list[RecallRow]:
    """Measure recall@10 of a view's indexes, with items of the space as queries.

    Parameters
    ----------
    view : View
        What is measured.
    queries_of : callable
        Gives the kinds of query of some rows in a block, and their vectors.

    Returns
    -------
    list of RecallRow
        One for each block, kind of query and domain.
    """
    measured = []
    for block in view.blocks:
        for domain in view.domains:
            rows = _sample(view, block.name, domain)
            for kind, queries in queries_of(view, block.name, rows):
                if len(queries):
                    recall = recall_of(view, block.name, queries)
                    measured.append(
                        RecallRow(
                            block=block.name,
                            kind=kind,
                            domain=domain,
                            queries=len(queries),
                            recall=round(recall, 4),
                        )
                    )
    return measured


def recall_of(view: View, block: str, queries: FloatArray) -> float:
    """Give the share of the exact ten best that a view's search finds.

    An item that ties with the tenth best counts as found, since either answer is right. The
    first hit is left out where it is the query itself.
    """
    exact, _ = view.exact(block, queries, RECALL_AT + 1)
    found, _ = view.search(block, queries, RECALL_AT + 1)
    wanted = np.isfinite(exact[:, 1:])
    worst = np.where(wanted, exact[:, 1:], np.inf).min(axis=1, keepdims=True)
    hits = np.isfinite(found[:, 1:]) & (found[:, 1:] >= worst - SAME_SCORE)
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def _sample(view: View, block: str, domain: str) -> Positions:
    mask = view.mask(domains=[domain])
    rows = np.flatnonzero(mask if mask is not None else [])
    rows = rows[view.present(block, rows)]
    chosen = np.random.default_rng(0).permutation(len(rows))[:QUERIES_A_DOMAIN]
    return np.sort(rows[chosen])
