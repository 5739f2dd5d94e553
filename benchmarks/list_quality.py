"""NDCG of short lists by how much the candidate generators read and retrieve for them.

``python benchmarks/list_quality.py --space S --train FOLDER --protocols FOLDER ...``

A recommender is trained on the train table of one protocol folder. The validation users of that
and of further folders (of the same items, whose train tables it did not see) are ranked for with
the present limits and with others: candidates of each generator, postings of words, items whose
scores are propagated. Differences are paired by user, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from common.tables import print_table

from isthmus import Space, User
from isthmus.evaluation.lists import clean_lists, hit_matrix
from isthmus.evaluation.task import Task, read_protocol
from isthmus.numerics.metrics import PerUser, ndcg
from isthmus.numerics.statistics import estimate
from isthmus.retrieval.candidates import content_smoothed_item_knn, tfidf_overlap
from isthmus.retrieval.recommend.recommender import depth_of
from isthmus.retrieval.recommend.serving import Serving
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.retrieval.recommend.train import train_recommender
from isthmus.schema import TIME, WEIGHT

PLACES = 20
USERS_AT_ONCE = 64
Limits = tuple[int, int, int]


@contextmanager
def reading(limits: Limits) -> Iterator[int]:
    """Limit the postings and the propagated items; return the candidates of each generator."""
    postings, propagated, depth = limits
    with (
        patch.object(tfidf_overlap, "MAX_POSTINGS", postings),
        patch.object(content_smoothed_item_knn, "PROPAGATED", propagated),
    ):
        yield depth


def trained(space: Space, folder: Path) -> Serving:
    """Train on the train table of a protocol, and join the recommender with the space."""
    task, opened = read_protocol(folder, "val"), space.opened
    train = task.train.append_column(WEIGHT, pa.repeat(1.0, len(task.train)))
    data = space_training_data(opened.view(), opened.vector_weights, train)
    targets = None if task.target_domain is None else [task.target_domain]
    found = train_recommender(data, RecommenderSettings(), targets, show=True)
    return Serving.of(found.recommender, opened.view(), opened.vector_weights)


def ndcg_of(serving: Serving, task: Task, limits: Limits) -> tuple[PerUser, float]:
    """Return NDCG@10 of each user, and milliseconds of processor time a user."""
    view = serving.view
    rows = view.find(task.candidates)
    mask = np.zeros(len(view.living.rows), bool)
    mask[rows[rows >= 0]] = True
    domain = task.target_domain or next(iter(view.domains))
    allowed = serving.allowed(domain, view.select_mask(mask))
    timed = task.train.column(TIME).null_count == 0
    users = [User().after(User(user.history).history, timed) for user in task.users]
    lists, started = [], time.thread_time()
    with reading(limits) as depth:
        for start in range(0, len(users), USERS_AT_ONCE):
            some = users[start : start + USERS_AT_ONCE]
            histories = serving.histories(some, [None] * len(some))
            ranked = serving.rank(histories, domain, allowed, depth=depth)
            for user in range(len(some)):
                items = ranked.best(user, PLACES)[0]
                lists.append(serving.data.item_ids[items].tolist())
    milliseconds = (time.thread_time() - started) / max(1, len(users)) * 1e3
    truths = [user.truth for user in task.users]
    hits = hit_matrix(clean_lists(task, lists, PLACES), truths, PLACES)
    n_relevant = np.array([len(truth) for truth in truths], np.int64)
    return ndcg(hits, n_relevant, 10), milliseconds


def main() -> None:
    """Train, rank within each of the limits, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True, help="its train table is learned from")
    parser.add_argument("--protocols", type=Path, nargs="+", default=[])
    parser.add_argument(
        "--limits",
        nargs="+",
        default=["60000,1000,100"],
        help="postings, propagated items, and candidates of each generator",
    )
    options = parser.parse_args()
    serving = trained(Space.open(options.space), options.train)
    present = (
        tfidf_overlap.MAX_POSTINGS,
        content_smoothed_item_knn.PROPAGATED,
        depth_of(PLACES),
    )
    rows = []
    for folder in dict.fromkeys([options.train, *options.protocols]):
        task = read_protocol(folder, "val")
        now, seconds = ndcg_of(serving, task, present)
        rows.append([folder.name, "present", f"{now.mean():.4f}", "", f"{seconds:.2f}"])
        for text in options.limits:
            postings, propagated, depth = map(int, text.split(","))
            other, seconds = ndcg_of(serving, task, (postings, propagated, depth))
            apart = estimate(other - now)
            interval = f"{apart.value:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"
            rows.append([folder.name, text, f"{other.mean():.4f}", interval, f"{seconds:.2f}"])
    print_table(["protocol", "limits", "NDCG@10", "over the present", "ms a user"], rows)


if __name__ == "__main__":
    main()
