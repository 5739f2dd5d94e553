"""The arguments of benchmarks that search real vectors."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from common.worker import CLOCKS


def search_arguments(about: str | None, out: Path, repeats: int) -> ArgumentParser:
    """Return a parser with the arguments that all search benchmarks share."""
    parser = ArgumentParser(description=about)
    parser.add_argument("--vectors", type=Path, required=True, help="see real_vectors.py")
    parser.add_argument("--queries", type=int, default=1_000, help="held-out queries")
    parser.add_argument("--threads", type=int, default=1, help="of a search; builds use two")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="use cpu on a shared machine"
    )
    parser.add_argument("--out", type=Path, default=out)
    return parser
