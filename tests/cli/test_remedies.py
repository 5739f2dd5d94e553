"""Every command that a message, a help text or a docstring of the package names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from isthmus.cli.commands import build_app

PACKAGE = Path(__file__).resolve().parents[2] / "isthmus"
DOCUMENTATION = PACKAGE.parent / "docs"
# A command follows a mark or one of these words; elsewhere "isthmus" is a word.
COMMAND = re.compile(
    r"(?:[`:(.]\s*|\b(?:then|run|that) )isthmus ([a-z][^`;()]*)"
    r"|\bisthmus ((?:[a-z]+-)*[a-z]+ --[^`;()]*)"
)
NEXT_COMMAND = re.compile(r",? (?:and |or |then )*isthmus ")
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
NO_COMMANDS = {"ratings"}  # the system "isthmus ratings" of an evaluation


@cache
def texts() -> list[tuple[str, str]]:
    """Where a string literal is, and what it says; values of f-strings become placeholders."""
    return list(_texts())


def _texts() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {
            id(value)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for value in node.values
        }
        for node in ast.walk(tree):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                yield where, "".join(_literal(value) for value in node.values)
            elif isinstance(node, ast.Constant) and id(node) not in parts:
                yield where, node.value if isinstance(node.value, str) else ""


def commands() -> Iterator[tuple[str, str]]:
    """Where a command is named, and its words after ``isthmus``."""
    for where, text in texts():
        for found in COMMAND.finditer(re.sub(r"\s+", " ", text)):
            for words in NEXT_COMMAND.split(found[1] or found[2]):
                if words.split()[0].strip(".,'\"") not in NO_COMMANDS:
                    yield where, words


@cache
def root_command() -> Any:
    return get_command(build_app())


def problem(words: str) -> str | None:
    """Return what is wrong with a command; None if it exists with its options."""
    command = root = root_command()
    rest = words.split()
    while hasattr(command, "commands"):
        name = rest.pop(0).strip(".,") if rest else ""
        if not name and command is not root:
            return None  # a group is named as a whole
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    known.add("--help")
    unknown = [name for name in OPTION.findall(" ".join(rest)) if name not in known]
    return f"no option {', '.join(unknown)}" if unknown else None


def all_options() -> set[str]:
    """The options of all commands."""
    waiting = [root_command()]
    options = {"--help"}
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        options |= {n for param in command.params for n in (*param.opts, *param.secondary_opts)}
    return options


def test_every_command_that_the_package_names_exists():
    named = list(commands())
    assert len(named) > 40
    problems = [f"{where}: isthmus {words}: {problem(words)}" for where, words in named]
    assert not [line for line in problems if not line.endswith(": None")]


def test_every_option_that_the_package_names_belongs_to_a_command():
    named = {
        (where, option)
        for where, text in texts()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+(?![\w{-])", text)
    }
    known = all_options() | {"--one"}  # of a doctest
    assert named
    assert not [(where, option) for where, option in named if option not in known]


def test_every_page_that_the_package_names_exists():
    pages = {
        (where, page)
        for where, text in texts()
        for page in re.findall(r"\bdocs/([\w/-]+\.md)", text)
    }
    assert pages
    assert not [(where, page) for where, page in pages if not (DOCUMENTATION / page).exists()]


@pytest.mark.parametrize(
    "words",
    ["add-items FILES", "upsert ITEMS --colour red", "interactions forget USER", "create -x PATH"],
)
def test_a_command_that_does_not_exist_is_found(words):
    assert problem(words) is not None


@pytest.mark.parametrize(
    "words",
    ["create --space PATH", "interactions add --value", "rollback N", "publish, or something else"],
)
def test_a_command_that_exists_is_accepted(words):
    assert problem(words) is None


def _literal(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "PLACEHOLDER"
