"""Read beside a writer, so often: ``python -m tests.stress.readers --reads 10000 --readers 3``.

The writer adds, changes and deletes items, events and users, publishes with one release kept, and
compacts with ``keep_days=0``, as fast as it can. Readers in processes and threads of their own ask
for items that never change, and count what is not the right answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from isthmus import Space, User
from isthmus.index.settings import SpaceSettings
from tests.toy import item, text_encoder

ROOT = Path(__file__).resolve().parents[2]
STEADY = 50
NAMES = {f"s{n}" for n in range(STEADY)}
REOPEN = 40  # reads of a space that is opened once
THREADS = 2


def steady(number: int) -> dict[str, Any]:
    return item(f"s{number}", f"sea word{number}", price=float(number))


def build(path: Path) -> None:
    """Make a space that keeps one release, with items, events and users that stay."""
    Space.create(path, {"text": text_encoder()})
    settings = SpaceSettings.read(path)
    index = settings.index.model_copy(update={"keep_releases": 1})
    settings.model_copy(update={"index": index}).write(path)
    space = opened(path)
    space.upsert([steady(n) for n in range(STEADY)])
    space.add_interactions(
        [{"user_id": f"u{n % 4}", "item_id": f"s{n}"} for n in range(STEADY // 2)]
    )
    space.add_users([{"user_id": f"u{n}", "age": n} for n in range(4)])
    space.index_text()
    space.publish()


def opened(path: Path) -> Space:
    return Space.open(path, encoder={"text": text_encoder()})


def write(space: Space, number: int) -> None:
    """Do one round of everything that a writer does."""
    space.upsert([item(f"n{number}", f"sea new{number}"), item("changing", f"sea again{number}")])
    space.update([{"item_id": "changing", "price": -1.0 - number}])
    space.add_interactions([{"user_id": "v", "item_id": f"n{number}"}])
    space.add_users([{"user_id": "v", "age": number}])
    space.publish()
    space.delete([f"n{number}"])
    if number % 2:
        space.forget_user("v")
    space.compact(keep_days=0)


def _found(hits: list[Any], at_least: set[str]) -> bool:
    ids = [hit.item_id for hit in hits]
    return at_least <= {*ids} and len({*ids}) == len(ids)


def _stream(space: Space) -> set[str]:
    """Read a stream slowly: the version that it is of must stay."""
    found = set[str]()
    for name in space.ids():
        if not found:
            time.sleep(0.2)
        found.add(name)
    return found


READS: dict[str, Callable[[Space, int], bool]] = {
    "search": lambda s, n: _found(s.search("sea", k=STEADY + 20), NAMES),
    "search one": lambda s, n: s.search(f"sea word{n}", k=1)[0].item_id == f"s{n}",
    "search with attributes": lambda s, n: (
        s.search(f"sea word{n}", k=1, attributes=True)[0].attributes.get("price") == float(n)
    ),
    "filter": lambda s, n: _found(
        s.search("sea", k=STEADY + 20, where=f"price < {n} and price >= 0"),
        {f"s{k}" for k in range(n)},
    ),
    "hybrid": lambda s, n: s.search(f"word{n}", k=1, hybrid=True)[0].item_id == f"s{n}",
    "similar": lambda s, n: len(s.similar(f"s{n}", k=5)) == 5,
    "recommend": lambda s, n: len(s.recommend(User(id=f"u{n % 4}"), k=5)) == 5,
    "get": lambda s, n: s.get(f"s{n}")["text"] == f"sea word{n}",
    "get many": lambda s, n: [row["item_id"] for row in s.get(sorted(NAMES))] == sorted(NAMES),
    "ids": lambda s, n: {*s.ids()} >= NAMES,
    "count": lambda s, n: s.count(where=f"price >= {n}") == STEADY - n,
    "vectors": lambda s, n: {*s.vectors().read_all()["item_id"].to_pylist()} >= NAMES,
    "stream": lambda s, n: _stream(s) >= NAMES,
    "events": lambda s, n: s.interactions(f"u{n % 4}").num_rows >= STEADY // 8,
    "all events": lambda s, n: s.interactions().num_rows >= STEADY // 2,
    "users": lambda s, n: [user["age"] for user in s.users([f"u{n % 4}"])] == [n % 4],
    "quarantine": lambda s, n: s.quarantine() == [],
    "attributes": lambda s, n: [a["attribute"] for a in s.attributes()] == ["price"],
    "status": lambda s, n: s.status()["items"] >= STEADY,
    "releases": lambda s, n: s.current_release is not None and len(s.releases()) >= 1,
}


def read(path: Path, reads: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Ask in turn; return how often each was asked, and what was not the right answer."""
    counts, wrong = Counter[str](), []
    names = list(READS)
    for number in range(seed, seed + reads):
        name, subject = names[number % len(names)], number * 7 % STEADY
        counts[name] += 1
        try:
            if number == seed or number % REOPEN == 0:
                space = opened(path)
            if not READS[name](space, subject):
                wrong.append(f"{name} {subject}: another answer")
        except Exception:
            wrong.append(f"{name} {subject}: {traceback.format_exc(limit=-6)}")
    return counts, wrong


def reader(path: Path, reads: int, seed: int) -> None:
    """Read in threads, and print what came out as JSON."""
    share = -(-reads // THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(lambda k: read(path, share, seed + k * share), range(THREADS)))
    counts = sum((part[0] for part in parts), Counter[str]())
    print(json.dumps({"counts": counts, "wrong": [line for part in parts for line in part[1]]}))


def beside_a_writer(reads: int, readers: int) -> tuple[Counter[str], list[str], int]:
    """Return how often each was asked, what was wrong, and how many rounds the writer did."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        build(path)
        share = -(-reads // readers)
        command = [sys.executable, "-W", "ignore", "-m", "tests.stress.readers", str(path)]
        processes = [
            subprocess.Popen(
                [*command, "--reads", str(share), "--seed", str(k * share)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for k in range(readers)
        ]
        space, rounds = opened(path), 0
        while any(process.poll() is None for process in processes):
            write(space, rounds)
            rounds += 1
        counts, wrong = Counter[str](), []
        for process in processes:
            out = process.stdout.read() if process.stdout else ""
            if process.returncode:
                wrong.append(f"a reader ended with status {process.returncode}")
                continue
            part = json.loads(out.splitlines()[-1])
            counts.update(part["counts"])
            wrong += part["wrong"]
    return counts, wrong, rounds


def main() -> None:
    """Run, and exit with status 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space", nargs="?", type=Path, help="read this one, and nothing else")
    parser.add_argument("--reads", type=int, default=10_000)
    parser.add_argument("--readers", type=int, default=3, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.space:
        reader(options.space, options.reads, options.seed)
        return
    began = time.monotonic()
    counts, wrong, rounds = beside_a_writer(options.reads, options.readers)
    for line in wrong:
        print(line)
    print(
        f"{counts.total():,} reads, {rounds} rounds of the writer, {len(wrong)} errors, "
        f"{time.monotonic() - began:.0f} s"
    )
    print(json.dumps(counts))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
