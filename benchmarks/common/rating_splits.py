"""Ratings of films, divided: at random, and by users of whom a few ratings are known."""

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
HELD_USERS = 0.1


@dataclass(frozen=True)
class Films:
    """Ratings as a table, and the items in the order of their columns."""

    ratings: pa.Table
    items: pa.Table

    @property
    def item_ids(self) -> list[str]:
        """Ids by column."""
        return [str(own) for own in self.items.column(ITEM_ID).to_pylist()]

    @property
    def texts(self) -> list[str]:
        """What is encoded of each item."""
        return [f"{r['title']}. {r['genres']}" for r in self.items.to_pylist()]


@dataclass(frozen=True)
class Part:
    """What is asked: of `train` all systems learn, peers of the histories too."""

    name: str
    train: Ratings
    question: HeldOut


def read_films(folder: Path) -> Films:
    """Read ratings and items."""
    ratings = pq.read_table(folder / "interactions.parquet")
    ratings = ratings.rename_columns({"rating": VALUE, "timestamp": TIME})
    return Films(ratings, pq.read_table(folder / "items.parquet"))


def random_split(films: Films, seed: int) -> dict[str, Part]:
    """Divide by the protocol ``rating``: val and test with one train table."""
    domains = dict(zip(films.item_ids, films.items.column(DOMAIN).to_pylist(), strict=True))
    protocol = rating(films.ratings, domains, seed=seed)
    return {split: _random(films, task) for split, task in protocol._asdict().items()}


def few_shot_split(films: Films, seed: int) -> dict[str, list[Part]]:
    """Hide a tenth of the users for val and another for test, but for a few of their ratings.

    Whatever the number of shots, the same ratings are asked: all but the five that may be shown.
    """
    whole = _ratings(films, films.ratings)
    generator = np.random.default_rng(seed)
    order = generator.permutation(whole.shape[0])
    held = int(HELD_USERS * len(order))
    place = _places(whole, generator)
    group = np.full(len(order), -1)
    group[order[:held]], group[order[held : 2 * held]] = 0, 1
    of = group[whole.rows]
    return {
        split: [_few(whole, of < 0, of == number, place, shots) for shots in SHOTS]
        for number, split in enumerate(("val", "test"))
    }


def packed(question: HeldOut) -> tuple[list[History], list[npt.NDArray[np.int64]]]:
    """Return a history and the asked items for every row, to ask a rating model."""
    known, asked = question.histories, question.pairs
    starts = known.starts[1:-1]
    histories = zip(np.split(known.columns, starts), np.split(known.values, starts), strict=True)
    cuts = np.searchsorted(asked.rows, np.arange(1, known.shape[0]))
    return [History(*own) for own in histories], np.split(asked.columns, cuts)


def joined(train: Ratings, histories: Ratings) -> Ratings:
    """Return training ratings and histories as one; what is in both is there once."""
    keys, first = np.unique(
        np.concatenate([own.rows * own.shape[1] + own.columns for own in (train, histories)]),
        return_index=True,
    )
    values = np.concatenate([train.values, histories.values])[first]
    return Ratings(keys // train.shape[1], keys % train.shape[1], values, train.shape)


def _random(films: Films, task: Task) -> Part:
    train = _ratings(films, task.train)
    users = _codes(films)
    items = {item: column for column, item in enumerate(films.item_ids)}
    rows = [users[user.user_id] for user in task.users for _ in user.truth]
    columns = [items[item] for user in task.users for item in user.truth]
    values = [value for user in task.users for value in user.ratings or ()]
    hidden = _sorted(np.array(rows), np.array(columns), np.array(values), train.shape)
    return Part("random", train, _question(train, hidden))


def _few(
    whole: Ratings,
    others: npt.NDArray[np.bool_],
    own: npt.NDArray[np.bool_],
    place: npt.NDArray[np.int64],
    shots: int,
) -> Part:
    shown = whole.filter(own & (place < shots))
    hidden = whole.filter(own & (place >= max(SHOTS)))
    return Part(f"{shots} known", whole.filter(others), _question(shown, hidden))


def _question(histories: Ratings, hidden: Ratings) -> HeldOut:
    return HeldOut(histories, Pairs(hidden.rows, hidden.columns), hidden.values)


def _places(ratings: Ratings, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return each rating its place among those of its user, shuffled."""
    order = np.lexsort((generator.random(len(ratings)), ratings.rows))
    place = np.empty(len(ratings), np.int64)
    place[order] = np.arange(len(ratings)) - ratings.starts[ratings.rows[order]]
    return place


def _codes(films: Films) -> dict[str, int]:
    users = sorted(set(films.ratings.column(USER_ID).to_pylist()))
    return {user: row for row, user in enumerate(users)}


def _ratings(films: Films, table: pa.Table) -> Ratings:
    users = _codes(films)
    items = {item: column for column, item in enumerate(films.item_ids)}
    rows = np.array([users[own] for own in table.column(USER_ID).to_pylist()])
    columns = np.array([items[own] for own in table.column(ITEM_ID).to_pylist()])
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
