"""Flip bytes of a space and cut its files, and look at what its readers say.

    python -m tests.damage.flips --flips 1000 --seed 0

Every outcome must be one of two: the answers are those of the sound space, or an `IsthmusError`
names the damage. The process itself never uses Lance, whose threads do not survive a fork; each
damaged copy is read by a fork of its own, with a limit of time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pickle
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from isthmus import IsthmusError, Space, User, schema
from isthmus.encoders.training.settings import AlignmentSettings
from isthmus.index.settings import SpaceSettings
from isthmus.monitoring.history import Measurements
from isthmus.operations.precompute import precompute_by
from isthmus.privacy.budget import read_budget
from tests.retrieval.recommend.worlds import BRIEF
from tests.toy import COLOURS, ToyEncoder, ToyRecords, item, picture, two_encoders

LIMIT_S = 300.0  # a machine may be busy with other things
SHOWN = 100  # every so manyth, what there was so far is shown
NEWEST = 0.5  # share of the damages that hit the newest file of its kind
HEAVY = (
    "faiss",
    "isthmus.retrieval.ranker.ranker",
    "lance",
    "safetensors.numpy",
    "scipy.cluster.vq",
    "scipy.sparse.linalg",
    "scipy.spatial",
    "torch",
)
NUMBERED = re.compile(r"\d|^[0-9a-f]{2}$")  # a version, a release, a digest
IGNORED = {".lock", ".writer"}
PLACES = ("_FILE", "_FOLDER", "_TABLE", "_COPY")  # endings of constants of `isthmus.schema`
SHORT_LIVED = {schema.VECTORS_FILE}  # while a command runs that makes it anew
USERS = 40
HARMLESS, REPORTED, FALSE, RAW, HUNG, DIED = "harmless", "reported", "false", "raw", "hung", "died"


def build(path: Path) -> None:
    """Make a space with files of every kind: releases, a delta, a recommender, an alignment."""
    encoders = two_encoders()
    other = ToyEncoder("text", dim=24, salt="other", spec="toy/other")
    space = Space.create(path, {**encoders, "text": other})
    colours = list(COLOURS)
    space.upsert(
        [
            item(
                f"f{n}",
                f"word{n} {colours[n % 6]} taste{n % 4}",
                "films" if n % 2 else "books",
                image=picture(colours[n % 6], 4 + n) if n < 24 else None,
                year=1900 + n,
                taste=f"taste{n % 4}",
            )
            for n in range(60)
        ]
    )
    chosen = random.Random(1)
    space.add_interactions(
        [
            {"user_id": f"u{user}", "item_id": f"f{n}", "value": float(n % 5)}
            for user in range(USERS)
            for n in chosen.sample(range(40), 12)
        ]
    )
    space.add_users([{"user_id": f"u{user}", "age": user} for user in range(USERS)])
    space.add_interactions([{"user_id": "visitor", "item_id": "f1"}])
    space.merge_users("visitor", into="u1")
    space.publish()
    space.reembed(text_encoder=encoders["text"])
    space.set_weights({"image": 2.0})
    space.align(settings=AlignmentSettings(dim=6, epochs=1))
    space.train(private=True, epsilon=3.0, delta=1e-3)
    space.train(settings=BRIEF)
    space.publish()
    space.monitor()
    space.set_scenario("home", caps={"taste": 2})
    for user in range(3):
        space.recommend(User(id=f"u{user}"), k=5, log=True)
    assert len(space.recommendations()) == 3
    space.learn_fusion(label="taste")
    precompute_by(space.opened, ToyRecords())
    space.index_text()
    space.delete(["f39"])
    space.upsert([item("late", "latecomer", "films"), item("broken", "x", image=b"none")])
    _require_every_kind(path)


def _require_every_kind(path: Path) -> None:
    """Raise `AssertionError` unless there is a file of every name that a space may have in it."""
    names = {value for name, value in vars(schema).items() if name.endswith(PLACES)} - SHORT_LIVED
    found = {part for file in path.rglob("*") if file.is_file() for part in file.parts}
    assert names <= found, f"no file to damage: {sorted(names - found)}"


READS: dict[str, Callable[[Space], Any]] = {
    "search": lambda space: [
        (hit.item_id, hit.text, hit.domain, hit.attributes, round(hit.score, 5))
        for hit in space.search("word3", k=99, attributes=True)
    ],
    "filter": lambda space: space.count("films", where="text like '%1%'"),
    "hybrid": lambda space: [hit.item_id for hit in space.search("word5", k=5, hybrid=True)],
    "get": lambda space: space.get(space.interactions("u3").column("item_id")[0].as_py()),
    "interactions": lambda space: sorted(map(str, space.interactions().to_pylist())),
    "user": lambda space: space.interactions("u3").to_pylist(),
    "attributes of users": lambda space: space.users(space.user_ids()),
    "recommend": lambda space: [
        (hit.item_id, round(hit.score, 4)) for hit in space.recommend(User(id="u3"), k=5)
    ],
    "logged recommendations": lambda space: space.recommendations().to_pylist(),
    "quarantine": lambda space: [(r["item_id"], r["reason"]) for r in space.quarantine()],
    "weights": lambda space: space.weights,
    "release": lambda space: space.current_release,
    "privacy budget": lambda space: read_budget(space.path).spent(1e-3),
    "measurements": lambda space: _last_measurement(space),
}


def _last_measurement(space: Space) -> str:
    """Return the last measurement; one that is damaged is passed over, and not shown."""
    found = Measurements(space.path).last(1)
    if not found and (space.path / schema.MEASUREMENTS_FOLDER).exists():
        raise IsthmusError("no measurement can be read")
    return str(found)


AFTER_A_WRITE = ("get", "interactions", "quarantine", "filter")


def read_all(path: Path) -> dict[str, tuple[str, Any]]:
    """Ask everything, write an item, and ask again; return the outcome of each."""
    opened = _outcome(partial(_opened, path))
    if opened[0] != "ok":
        return {"open": opened}
    space = opened[1]
    outcomes = {name: _outcome(partial(read, space)) for name, read in READS.items()}
    written = _outcome(lambda: space.upsert([item("new", "n", "others")]).added)
    again = {f"{n} after a write": _outcome(partial(READS[n], space)) for n in AFTER_A_WRITE}
    return {**outcomes, "write": written, **again}


def _opened(path: Path) -> Space:
    modalities = SpaceSettings.read(path).encoders
    return Space.open(path, encoder={m: e for m, e in two_encoders().items() if m in modalities})


def _outcome(ask: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "ok", ask()
    except IsthmusError as error:
        return REPORTED, f"{type(error).__name__}: {error}"
    except BaseException:  # a panic of Lance is no `Exception`
        return RAW, traceback.format_exc(limit=-4)


def in_fork(call: Callable[[], Any], limit_s: float = LIMIT_S) -> tuple[str, Any]:
    """Return ``("ok", result)`` of a call in a process of its own, or why there is none."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(call()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    content, end = b"", time.monotonic() + limit_s
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while time.monotonic() < end:
            if select.select([pipe], [], [], 0.5)[0]:
                part = pipe.read(1 << 20)
                if not part:
                    break
                content += part
        else:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return HUNG, f"still running after {limit_s:g} s"
    status = os.waitpid(process, 0)[1]
    return ("ok", pickle.loads(content)) if content else (DIED, f"wait status {status}")


def kinds(path: Path) -> dict[str, list[Path]]:
    """Return the files of a space by kind: folder and ending, numbers and digests left out."""
    found: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.suffix not in IGNORED and file.stat().st_size:
            *folders, name = file.relative_to(path).parts
            folder = "/".join(part for part in folders if not NUMBERED.search(part))
            kind = file.suffix if NUMBERED.search(name) else name
            found.setdefault(f"{folder}/{kind}", []).append(file)
    return found


def damage(file: Path, chance: random.Random) -> str:
    """Flip one bit of a file, or cut it off; return what was done."""
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    if chance.random() < 0.7:
        content[at] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        return f"bit flipped at {at} of {len(content)}"
    file.write_bytes(content[:at])
    return f"cut off at {at} of {len(content)}"


def judge(outcome: tuple[str, Any], sound: dict[str, tuple[str, Any]]) -> tuple[str, str]:
    """Return the verdict on one damaged copy, and what was seen."""
    if outcome[0] != "ok":
        return outcome[0], str(outcome[1])
    reported = False
    for name, (state, value) in outcome[1].items():
        if state == RAW:
            return RAW, f"{name}: {value}"
        if state == "ok" and (state, value) != sound[name]:
            return FALSE, f"{name}: {str(value)[:300]} instead of {str(sound[name][1])[:300]}"
        reported |= state == REPORTED
    return (REPORTED if reported else HARMLESS), ""


@contextmanager
def quiet() -> Iterator[TextIO]:
    """Keep what libraries print about damaged files off the standard error; yield that."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        with os.fdopen(os.dup(saved), "w") as shown:
            yield shown
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def run(source: Path, flips: int, seed: int, only: str = "") -> tuple[Counter[str], list[str]]:
    """Damage copies of a space; return how often each verdict was given, and what is wrong."""
    chance, verdicts, wrong = random.Random(seed), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder, quiet() as shown:
        work = Path(folder) / "work"
        shutil.copytree(source, work)
        sound = in_fork(lambda: read_all(work))[1]
        unsound = {name: value for name, value in sound.items() if value[0] != "ok"}
        if unsound:
            raise RuntimeError(f"the sound space does not answer: {unsound}")
        by_kind = [files for kind, files in kinds(source).items() if only in kind]
        for number in range(1, flips + 1):
            files = chance.choice(by_kind)
            newest = max(files, key=lambda file: file.stat().st_mtime_ns)
            file = newest if chance.random() < NEWEST else chance.choice(files)
            shutil.rmtree(work)
            shutil.copytree(source, work)
            done = damage(work / file.relative_to(source), chance)
            verdict, seen = judge(in_fork(lambda: read_all(work)), sound)
            verdicts[verdict] += 1
            if verdict not in (HARMLESS, REPORTED):
                wrong.append(f"{verdict}: {file.relative_to(source)}, {done}: {seen}")
                print(wrong[-1], file=shown, flush=True)
            if number % SHOWN == 0:
                print(f"{number} of {flips}: {dict(verdicts)}", file=shown, flush=True)
    return verdicts, wrong


def main() -> None:
    """Print the verdicts as JSON, and what is wrong at once; exit with 1 if anything is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path, help="A space of toy encoders; else one is made.")
    parser.add_argument("--only", default="", help="Only kinds whose path has this in it.")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for module in HEAVY:  # once, and not in every fork
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        source = given.source
        if source is None:
            source = Path(folder) / "source"
            built = in_fork(lambda: build(source), 10 * LIMIT_S)
            if built[0] != "ok":
                sys.exit(f"the space could not be built: {built[1]}")
        verdicts, wrong = run(source, given.flips, given.seed, given.only)
    print(json.dumps(dict(verdicts)))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
