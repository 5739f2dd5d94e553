"""The verbs of a space, each with a small space that it is done to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isthmus import Space
from isthmus.data.recommendations import RecommendationStore
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import (
    CorruptTable,
    InvalidInput,
    IsthmusError,
    SpaceExists,
    SpaceNotFound,
)
from isthmus.index.catalog.lock import write_lock
from isthmus.index.settings import SpaceSettings
from isthmus.operations.precompute import precompute_by
from isthmus.operations.settings_copy import restore_settings
from isthmus.retrieval.recommend.train import train_recommender  # noqa: F401  (before the forks)
from isthmus.schema import MEDIA_FOLDER
from tests.crash.state import open_space, other_encoder
from tests.damage.damages import flip
from tests.retrieval.recommend.worlds import BRIEF, checkerboard
from tests.toy import COLOURS, Encoder, ToyRecords, item, joint_encoder, picture, two_encoders

BRIEFEST = replace(
    BRIEF, training=replace(BRIEF.training, epochs=1), exclude_generators=BRIEF.exclude_generators
)
COLOUR_NAMES = list(COLOURS)


@dataclass(frozen=True)
class Verb:
    """A verb, and the space that it is done to.

    Attributes
    ----------
    name : str
        Its name.
    prepare : callable
        Makes the space in a folder.
    act : callable
        Does the verb.
    command : str
        The command of the command line that does it; by default the name.
    ignore : tuple of str
        Sections of the state that doing it twice changes by its meaning.
    unreadable : tuple of exception classes
        Errors that a reader gets before the verb is done; then there is no state.
    open : callable
        Returns what `act` takes, of the folder.
    """

    name: str
    prepare: Callable[[Path], object]
    act: Callable[[Any], object]
    command: str = ""
    ignore: tuple[str, ...] = ()
    unreadable: tuple[type[IsthmusError], ...] = ()
    open: Callable[[Path], Any] = open_space


def things(n: int) -> list[dict]:
    return [
        item(f"i{k}", f"word{k} {COLOUR_NAMES[k % 6]}", image=picture(COLOUR_NAMES[k % 6], 4 + k))
        for k in range(n)
    ]


def labelled(n: int) -> list[dict]:
    return [{**thing, "kind": COLOUR_NAMES[k % 6], "year": k} for k, thing in enumerate(things(n))]


def broken(n: int) -> list[dict]:
    return [item(f"b{k}", f"broken{k}", image=b"no picture %d" % k) for k in range(n)]


def small(
    path: Path, encoder: Encoder | dict | None = None, *, keep: int = 5, items: int = 12
) -> Space:
    space = Space.create(path, encoder or two_encoders())
    settings = SpaceSettings.read(path)
    index = settings.index.model_copy(update={"keep_releases": keep})
    settings.model_copy(update={"index": index}).write(path)
    space = open_space(path)
    space.upsert([*things(items), *broken(2)])
    space.add_interactions(
        [{"user_id": f"u{k % 4}", "item_id": f"i{k}", "time": 1_700_000_000 + k} for k in range(12)]
    )
    return space


def published(path: Path, encoder: Encoder | dict | None = None, *, keep: int = 5) -> Space:
    space = small(path, encoder, keep=keep)
    space.publish()
    return space


def with_users(path: Path) -> None:
    published(path).add_users([{"user_id": f"u{k}", "age": k} for k in range(4)])


def with_logged(path: Path) -> None:
    with_users(path)
    log_lists(open_space(path), "u1", 0, 3)


def with_merged(path: Path) -> None:
    with_logged(path)
    open_space(path).merge_users("u3", into="u1")


def log_lists(space: Space, user_id: str, first: int, last: int) -> None:
    """Log lists as the thread of the log does, under ids that are always the same."""
    row = {
        "user_id": user_id,
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "release": 1,
        "request": "{}",
        "offset": 0,
        "item_id": ["i1", "i2"],
        "score": [0.5, 0.25],
        "propensity": [1.0, 1.0],
        "explored": [False, False],
    }
    with write_lock(space.path, "interactions"):
        RecommendationStore(space.path).add(
            [{**row, "recommendation_id": f"r{k}"} for k in range(first, last)]
        )


def with_scenario(path: Path) -> None:
    published(path).set_scenario("home", ban=["i1"])


def without_scenario(space: Space) -> None:
    """Delete a scenario, if it was not deleted before."""
    unless_done(lambda: space.delete_scenario("home"))


def pairs(path: Path) -> None:
    small(path, items=24).publish()


def with_attributes(path: Path) -> None:
    space = published(path)
    space.upsert(labelled(8))


def with_labels(path: Path) -> None:
    Space.create(path, two_encoders()).upsert(labelled(60))


def unless_done(act: Callable[[], object]) -> None:
    """Do what cannot be done twice: the attribute is not there any more."""
    with suppress(InvalidInput):
        act()


def empty(path: Path) -> None:
    Space.create(path, two_encoders())


def with_files(path: Path) -> None:
    space = published(path)
    good = path.parent / "good.png"
    good.write_bytes(b"still no picture")
    space.upsert([item("file", "from a file", image=str(good))])
    good.write_bytes(picture("blue", 30))


def prunable(path: Path) -> None:
    space = published(path, keep=1)
    space.upsert([item("i3", "changed")])
    space.publish()
    space.upsert([item("new", "word3 new", image=picture("red", 40))])


def weighted(path: Path) -> None:
    published(path, joint_encoder()).set_weights({"image": 3.0})


def trained(path: Path) -> None:
    checkerboard(path, users=24).train(settings=BRIEFEST)


def trained_and_published(path: Path) -> None:
    space = checkerboard(path, users=24)
    space.train(settings=BRIEFEST)
    space.publish()
    space.upsert([item("new", "booksword1", domain="books")])


def many_versions(path: Path) -> None:
    space = published(path)
    for k in range(3):
        space.upsert([item(f"i{k}", f"again{k}")])
        space.add_interactions([{"user_id": "u9", "item_id": f"i{k}"}])
    space.delete(["i5"])
    for stored in (path / MEDIA_FOLDER).rglob("*"):
        os.utime(stored, (0, 0))  # old enough to be collected


def repairable(path: Path) -> None:
    """Damage an earlier release, an embedding cache, and the checksums of the catalog."""
    space = published(path)
    space.upsert([item("i3", "changed")])
    space.publish()
    flip(path / "releases" / "000001" / "rows.arrow")
    flip(newest(path / "embedding_cache", "text-*/data/*"))
    newest(path / "catalog.lance", "_checksums/*").unlink()


def damaged_items(path: Path) -> None:
    published(path).upsert([item("late", "late word3")])
    flip(newest(path / "catalog.lance", "data/*"))


def damaged_events(path: Path) -> None:
    published(path).add_interactions([{"user_id": "late", "item_id": "i1"}])
    flip(newest(path / "interactions.lance", "data/*"))


def damaged_settings(path: Path) -> None:
    published(path)
    (path / "space.toml").write_bytes(b"cut o")


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def nothing(path: Path) -> None:
    """Leave the place empty."""


def create(path: Path) -> None:
    for building in path.parent.glob(f".{path.name}.creating-*"):
        os.utime(building, (0, 0))  # old enough to be removed
    with suppress(SpaceExists):  # it was done before
        Space.create(path, two_encoders())


def mend(space: Space) -> None:
    assert space.verify(repair=True, drop_damaged=True).sound
    assert not space.verify().damages


def mend_settings(path: Path) -> None:
    restore_settings(path)
    mend(open_space(path))


VERBS = {
    verb.name: verb
    for verb in (
        Verb("create", nothing, create, unreadable=(SpaceNotFound,), open=lambda path: path),
        Verb(
            "first upsert",
            empty,
            lambda space: space.upsert([*things(6), *broken(2)]),
            "upsert",
        ),
        Verb(
            "upsert",
            published,
            lambda space: space.upsert(
                [
                    *things(4),
                    item("i5", "changed"),
                    *broken(3),
                    item("new", "new", image=picture("red")),
                ]
            ),
        ),
        Verb(
            "replace",
            with_attributes,
            lambda space: space.upsert(
                [item("i1", "word1 red"), item("i2", "another", kind="green")], replace=True
            ),
            "upsert",
        ),
        Verb(
            "synchronise",
            with_attributes,
            lambda space: space.upsert(
                [*labelled(5), item("new", "new")], domain="films", sync=True, max_delete=1.0
            ),
            "upsert",
        ),
        Verb("delete", published, lambda space: space.delete(["i1", "b0"])),
        Verb("delete where", with_attributes, lambda s: s.delete(where="year > 3"), "delete"),
        Verb(
            "retry",
            with_files,
            lambda space: space.retry_quarantine(),
            "retry-quarantine",
            ignore=("attempts",),
        ),
        Verb(
            "update",
            with_attributes,
            lambda space: space.update(
                [
                    {"item_id": "i1", "year": 1999, "kind": None},
                    {"item_id": "i2", "year": 2000, "text": "another word"},
                ]
            ),
        ),
        Verb(
            "update attributes",
            with_attributes,
            lambda space: space.update([{"item_id": "i1", "year": 7, "price": 0.5}]),
            "update",
        ),
        Verb(
            "cast",
            with_attributes,
            lambda space: space.cast_attribute("films", "year", "text"),
            "attributes cast",
        ),
        Verb(
            "rename",
            with_attributes,
            lambda s: unless_done(lambda: s.rename_attribute("films", "year", "made")),
            "attributes rename",
        ),
        Verb(
            "drop",
            with_attributes,
            lambda s: unless_done(lambda: s.drop_attribute("films", "year")),
            "attributes drop",
        ),
        Verb(
            "learn fusion",
            with_labels,
            lambda space: space.learn_fusion(label="kind"),
            "learn-fusion",
        ),
        Verb(
            "precompute",
            with_labels,
            lambda space: precompute_by(space.opened, ToyRecords()),
        ),
        Verb(
            "add interactions",
            published,
            lambda space: space.add_interactions(
                [{"user_id": f"u{k}", "item_id": "i1", "time": 1_700_001_000} for k in range(6)]
            ),
            "interactions add",
        ),
        Verb(
            "set scenario",
            with_scenario,
            lambda space: space.set_scenario("home", ban=["i2"], boost={"item_id = 'i3'": 2}),
            "scenarios set",
        ),
        Verb("delete scenario", with_scenario, without_scenario, "scenarios delete"),
        Verb(
            "log recommendations",
            with_logged,
            lambda space: log_lists(space, "u1", 3, 6),
            "recommend",
        ),
        Verb(
            "add first users",
            published,
            lambda space: space.add_users([{"user_id": f"u{k}", "age": k} for k in range(4)]),
            "users add",
        ),
        Verb(
            "add users",
            with_users,
            lambda space: space.add_users(
                [{"user_id": "u1", "city": "Oslo"}, {"user_id": "new", "age": 9}]
            ),
            "users add",
        ),
        Verb("delete users", with_users, lambda s: s.delete_users(["u1"]), "users delete"),
        Verb(
            "merge users",
            with_logged,
            lambda space: space.merge_users("u1", into="u2"),
            "users merge",
        ),
        Verb(
            "forget user",
            with_merged,
            lambda space: space.forget_user("u1"),
            "interactions forget-user",
        ),
        Verb(
            "set weights",
            lambda path: published(path, joint_encoder()),
            lambda space: space.set_weights({"image": 3.0}),
            "set-weights",
        ),
        Verb(
            "align",
            pairs,
            lambda space: space.align(settings=AlignmentSettings(dim=6, epochs=1)),
        ),
        Verb(
            "reembed",
            published,
            lambda space: space.reembed(text_encoder=other_encoder()),
        ),
        Verb("publish", prunable, lambda space: space.publish()),
        Verb("rebuild", published, lambda space: space.publish(rebuild=True), "publish"),
        Verb(
            "publish a recommender", trained_and_published, lambda space: space.publish(), "publish"
        ),
        Verb("rollback", weighted, lambda space: space.rollback(1)),
        Verb("compact", many_versions, lambda space: space.compact(keep_days=0)),
        Verb("repair", repairable, mend, "verify"),
        Verb("drop items", damaged_items, mend, "verify", unreadable=(CorruptTable,)),
        Verb("drop events", damaged_events, mend, "verify", unreadable=(CorruptTable,)),
        Verb(
            "repair settings",
            damaged_settings,
            mend_settings,
            "verify",
            unreadable=(InvalidInput,),
            open=lambda path: path,
        ),
        Verb("train", trained, lambda space: space.train(settings=BRIEFEST)),
    )
}
COMMANDS = {verb.command or verb.name for verb in VERBS.values()}
