"""One space of all real data sets, on the command line: speed, memory, number of encoded contents.

``python benchmarks/real_space.py --space /tmp/real.space`` (some ten minutes on two cores)

The first job is killed (SIGKILL) and resumed; then every file is added again, once unchanged, and
films once each with a single attribute, title and poster changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq

COMMAND = str(Path(sys.executable).with_name("isthmus"))
DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
SETS = {
    "arts + office": ("amazon_arts_office", ["--text", "{title}. {attributes}"]),
    "films": ("movielens_posters", ["--text", "{title}. {genres}"]),
    "fashion": ("fashion_products", ["--text", "{title}. {attributes}"]),
}


def isthmus(*arguments: object) -> dict[str, Any]:
    """Run a command with --json; return its output, its seconds and its peak memory."""
    start = time.perf_counter()
    command = [COMMAND, *map(str, arguments), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        out = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result | {"wall": time.perf_counter() - start, "peak_mib": usage.ru_maxrss / 1024}


def add(space: Path, file: Path, options: list[str]) -> dict[str, Any]:
    """Add a file of items."""
    return isthmus("upsert", file, "--space", space, *options)


def kill_on_the_way(space: Path, file: Path, options: list[str], after: float) -> dict[str, int]:
    """Start adding a file, kill the job, and return the numbers of stored items and vectors."""
    command = [COMMAND, "upsert", str(file), "--space", str(space), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (cache,) = (space / "embedding_cache").glob("text-*.lance")
    stored = lance.dataset(str(cache)).count_rows()
    return {"items": isthmus("status", "--space", space)["items"], "embedding_cache": stored}


def change_one(folder: Path, source: Path, column: str, value: Any) -> Path:
    """Write the items of a file, with one value changed in the first row that has a picture."""
    table = pq.read_table(source)
    row = table.column("image").to_pylist().index(next(filter(None, table["image"].to_pylist())))
    paths = [name and str((source.parent / name).absolute()) for name in table["image"].to_pylist()]
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    columns["image"] = paths
    columns[column][row] = value
    target = folder / f"{column}.parquet"
    pq.write_table(pa.table(columns, schema=table.schema), target)
    return target


def report(name: str, result: dict[str, Any]) -> None:
    """Print one line of the table."""
    encoded = result["encoded"]
    print(
        f"| {name} | {result['rows_read']:,} | {result['added']:,} | {result['changed']:,} | "
        f"{encoded.get('text', 0):,} | {encoded.get('image', 0):,} | {result['quarantined']} | "
        f"{result['seconds']:.1f} | {result['wall']:.1f} | {result['peak_mib']:,.0f} |",
        flush=True,
    )


def build(space: Path, files: dict[str, tuple[Path, list[str]]], kill_after: float) -> None:
    """Create and fill the space; the first job is killed and resumed."""
    shutil.rmtree(space, ignore_errors=True)
    isthmus("create", "--space", space)
    first, options = files["arts + office"]
    stored = kill_on_the_way(space, first, options, kill_after)
    resumed = add(space, first, options)
    report("arts + office, after a kill", resumed)
    columns = (pq.read_table(first)[name].to_pylist() for name in ("title", "attributes"))
    distinct = len(set(zip(*columns, strict=True)))
    print(
        f"| (killed with {stored['items']:,} items and {stored['embedding_cache']:,} text vectors "
        f"stored; of {distinct:,} distinct texts {distinct - resumed['encoded']['text']:,} "
        "were not encoded again) |" + " |" * 9
    )
    for name in ("films", "fashion"):
        report(name, add(space, *files[name]))


def main() -> None:
    """Build the space and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--kill-after", type=float, default=45.0)
    parser.add_argument("--reuse", action="store_true", help="use an existing space")
    arguments = parser.parse_args()
    space = arguments.space
    print("| job | rows | added | changed | texts | images | quarantined | s | wall s | peak MiB |")
    print("| --- " * 10 + "|")
    files = {name: (DATA / folder / "items.parquet", o) for name, (folder, o) in SETS.items()}
    if not arguments.reuse:
        build(space, files, arguments.kill_after)
    for name, (file, options) in files.items():
        report(f"{name}, again", add(space, file, options))
    with tempfile.TemporaryDirectory() as folder:
        films, options = files["films"]
        other = str(next((DATA / "flickr8k_1000/images").glob("*.jpg")).absolute())
        for column, value in (("year", 1901), ("title", "A Title Never Seen"), ("image", other)):
            changed = change_one(Path(folder), films, column, value)
            report(f"films, one {column} changed", add(space, changed, options))
        report("films, as before", add(space, films, options))
    published = isthmus("publish", "--space", space)
    print(
        f"\npublished {published['rows']:,} items in {published['wall']:.1f} s, "
        f"peak {published['peak_mib']:,.0f} MiB"
    )
    for row in published["recall"]:
        print(
            f"  {row['vector_name']:6} {row['kind']:15} {row['domain']:12} "
            f"recall@10 {row['recall']}"
        )
    print(json.dumps(isthmus("status", "--space", space)["domains"]))


if __name__ == "__main__":
    main()
