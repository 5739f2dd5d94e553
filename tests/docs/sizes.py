"""Lines of the package by kind: ``python -m tests.docs.sizes`` prints a table."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "isthmus"
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
KINDS = ("code", "docstrings", "comments and blank")


def lines_of(source: str) -> Counter[str]:
    """Return the lines of a module by kind."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            docstrings |= set(range(text.lineno, (text.end_lineno or 0) + 1))
    kinds: Counter[str] = Counter({"docstrings": len(docstrings)})
    for number, line in enumerate(source.splitlines(), start=1):
        if number not in docstrings:
            is_code = line.strip() and not line.lstrip().startswith("#")
            kinds["code" if is_code else "comments and blank"] += 1
    return kinds


def main() -> None:
    """Print the lines of every package, most first."""
    packages: dict[str, Counter[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        package = f"`{parts[0]}`" if len(parts) > 1 else "top level, `space.py` among it"
        found = packages.setdefault(package, Counter())
        found.update(lines_of(path.read_text("utf-8")), files=1)
    total = sum(packages.values(), Counter[str]())
    rows = sorted(packages.items(), key=lambda row: -row[1]["code"])
    print("| package | files | code | docstrings | comments and blank |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for package, found in [*rows, ("all", total)]:
        counts = " | ".join(f"{found[kind]:,}" for kind in KINDS)
        print(f"| {package} | {found['files']} | {counts} |")


if __name__ == "__main__":
    main()
