"""Splits of MovieLens ratings: random, and few-shot by users with a few known ratings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.evaluation.protocols import rating
from isthmus.evaluation.task import Task
from isthmus.retrieval.ratings.cross_fitting import HeldOut
from isthmus.retrieval.ratings.neighbours import Pairs
from isthmus.retrieval.ratings.ratings import History, Ratings
from isthmus.schema import DOMAIN, ITEM_ID, TIME, USER_ID, VALUE

SHOTS = (0, 1, 3, 5)
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Films:
    """Ratings as a table, and the items in the order of their columns."""

    ratings: pa.Table
    items: pa.Table

    @property
    def item_ids(self) -> list[str]:
        """Return the item ids by column."""
        return [str(item_id) for item_id in self.items.column(ITEM_ID).to_pylist()]

    @property
    def texts(self) -> list[str]:
        """Return the text of each item, by column."""
        return [f"{r['title']}. {r['genres']}" for r in self.items.to_pylist()]


@dataclass(frozen=True)
class RatingTask:
    """One evaluation: all systems train on `train`, and peers on the held-out users' histories."""

    name: str
    train: Ratings
    held_out: HeldOut


def read_films(folder: Path) -> Films:
    """Read ratings and items."""
    ratings = pq.read_table(folder / "interactions.parquet")
    ratings = ratings.rename_columns({"rating": VALUE, "timestamp": TIME})
    return Films(ratings, pq.read_table(folder / "items.parquet"))


def random_split(films: Films, seed: int) -> dict[str, RatingTask]:
    """Split by the protocol ``rating``: val and test with one train table."""
    domains = dict(zip(films.item_ids, films.items.column(DOMAIN).to_pylist(), strict=True))
    protocol = rating(films.ratings, domains, seed=seed)
    return {split: _random_task(films, task) for split, task in protocol._asdict().items()}


def few_shot_split(films: Films, seed: int) -> dict[str, list[RatingTask]]:
    """Hold out a tenth of the users for val and a tenth for test, except a few of their ratings.

    The predicted ratings are the same for every number of shots: all but the five that may be in
    a history.
    """
    ratings = _ratings(films, films.ratings)
    generator = np.random.default_rng(seed)
    order = generator.permutation(ratings.shape[0])
    n_held_out = int(HELD_OUT_SHARE * len(order))
    position = _shuffled_positions(ratings, generator)
    group = np.full(len(order), -1)
    group[order[:n_held_out]], group[order[n_held_out : 2 * n_held_out]] = 0, 1
    group_of_rating = group[ratings.rows]
    return {
        split: [
            _few_shot_task(ratings, group_of_rating < 0, group_of_rating == number, position, shots)
            for shots in SHOTS
        ]
        for number, split in enumerate(("val", "test"))
    }


def model_inputs(held_out: HeldOut) -> tuple[list[History], list[npt.NDArray[np.int64]]]:
    """Return the history and the items to rate of every user, the input of a rating model."""
    given_ratings, pairs = held_out.histories, held_out.pairs
    starts = given_ratings.starts[1:-1]
    histories = zip(
        np.split(given_ratings.columns, starts), np.split(given_ratings.values, starts), strict=True
    )
    boundaries = np.searchsorted(pairs.rows, np.arange(1, given_ratings.shape[0]))
    return [History(*history) for history in histories], np.split(pairs.columns, boundaries)


def merge_ratings(train: Ratings, histories: Ratings) -> Ratings:
    """Return the union of training ratings and histories."""
    keys, first = np.unique(
        np.concatenate(
            [ratings.rows * ratings.shape[1] + ratings.columns for ratings in (train, histories)]
        ),
        return_index=True,
    )
    values = np.concatenate([train.values, histories.values])[first]
    return Ratings(keys // train.shape[1], keys % train.shape[1], values, train.shape)


def _random_task(films: Films, task: Task) -> RatingTask:
    train = _ratings(films, task.train)
    users = _user_rows(films)
    items = {item: column for column, item in enumerate(films.item_ids)}
    rows = [users[user.user_id] for user in task.users for _ in user.truth]
    columns = [items[item] for user in task.users for item in user.truth]
    values = [value for user in task.users for value in user.ratings or ()]
    hidden = _sorted(np.array(rows), np.array(columns), np.array(values), train.shape)
    return RatingTask("random", train, _held_out(train, hidden))


def _few_shot_task(
    ratings: Ratings,
    in_train: npt.NDArray[np.bool_],
    in_group: npt.NDArray[np.bool_],
    position: npt.NDArray[np.int64],
    shots: int,
) -> RatingTask:
    history_ratings = ratings.filter(in_group & (position < shots))
    hidden = ratings.filter(in_group & (position >= max(SHOTS)))
    return RatingTask(
        f"{shots} known", ratings.filter(in_train), _held_out(history_ratings, hidden)
    )


def _held_out(histories: Ratings, hidden: Ratings) -> HeldOut:
    return HeldOut(histories, Pairs(hidden.rows, hidden.columns), hidden.values)


def _shuffled_positions(ratings: Ratings, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the position of each rating in a random order of its user's ratings."""
    order = np.lexsort((generator.random(len(ratings)), ratings.rows))
    position = np.empty(len(ratings), np.int64)
    position[order] = np.arange(len(ratings)) - ratings.starts[ratings.rows[order]]
    return position


def _user_rows(films: Films) -> dict[str, int]:
    users = sorted(set(films.ratings.column(USER_ID).to_pylist()))
    return {user: row for row, user in enumerate(users)}


def _ratings(films: Films, table: pa.Table) -> Ratings:
    users = _user_rows(films)
    items = {item: column for column, item in enumerate(films.item_ids)}
    rows = np.array([users[identifier] for identifier in table.column(USER_ID).to_pylist()])
    columns = np.array([items[identifier] for identifier in table.column(ITEM_ID).to_pylist()])
    values = np.asarray(table.column(VALUE).to_numpy(), np.float64)
    return _sorted(rows, columns, values, (len(users), len(items)))


def _sorted(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> Ratings:
    order = np.lexsort((columns, rows))
    return Ratings(rows[order], columns[order], values[order], shape)
