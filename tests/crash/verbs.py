"""The verbs of a space, each with a small space that it is done to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from isthmus import Space
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.errors import InvalidInput
from isthmus.index.settings import SpaceSettings
from isthmus.retrieval.recommend.train import train_recommender  # noqa: F401  (before the forks)
from tests.crash.state import open_space, other_encoder
from tests.retrieval.recommend.worlds import BRIEF, checkerboard
from tests.toy import COLOURS, Encoder, item, joint_encoder, picture, two_encoders

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
    ignore : tuple of str
        Sections of the state that doing it twice changes by its meaning.
    every : int
        Of how many system calls a full run stops at one; 1 stops at each.
    """

    name: str
    prepare: Callable[[Path], object]
    act: Callable[[Space], object]
    ignore: tuple[str, ...] = ()
    every: int = 1


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


VERBS = {
    verb.name: verb
    for verb in (
        Verb("first upsert", empty, lambda space: space.upsert([*things(6), *broken(2)])),
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
            "delete",
            published,
            lambda space: space.delete(["i1", "b0"]),
        ),
        Verb(
            "retry",
            with_files,
            lambda space: space.retry_quarantine(),
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
        ),
        Verb("cast", with_attributes, lambda s: s.cast_attribute("films", "year", "text")),
        Verb(
            "rename",
            with_attributes,
            lambda s: unless_done(lambda: s.rename_attribute("films", "year", "made")),
        ),
        Verb(
            "drop",
            with_attributes,
            lambda s: unless_done(lambda: s.drop_attribute("films", "year")),
        ),
        Verb("learn fusion", with_labels, lambda space: space.learn_fusion(label="kind")),
        Verb(
            "add interactions",
            published,
            lambda space: space.add_interactions(
                [{"user_id": f"u{k}", "item_id": "i1", "time": 1_700_001_000} for k in range(6)]
            ),
        ),
        Verb("forget user", published, lambda s: s.forget_user("u1")),
        Verb(
            "set weights",
            lambda path: published(path, joint_encoder()),
            lambda space: space.set_weights({"image": 3.0}),
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
        Verb(
            "publish a recommender", trained_and_published, lambda space: space.publish(), every=3
        ),
        Verb("rollback", weighted, lambda space: space.rollback(1)),
        Verb("compact", many_versions, lambda space: space.compact(keep_days=0)),
        Verb("train", trained, lambda space: space.train(settings=BRIEFEST), every=4),
    )
}
