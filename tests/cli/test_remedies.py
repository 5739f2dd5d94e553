"""Every command that a message, a help text or a docstring of the package names exists."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from isthmus.cli.commands import build_app

PACKAGE = Path(__file__).resolve().parents[2] / "isthmus"
DOCUMENTATION = PACKAGE.parent / "docs"
# A command begins a text, or follows a mark or one of these words; elsewhere "isthmus" is a word.
COMMAND = re.compile(
    r"(?:^|[`:(.]\s*|\b(?:then|run|that) )isthmus ([a-z][^`;()]*)"
    r"|\bisthmus ((?:[a-z]+-)*[a-z]+ --[^`;()]*)"
)
NEXT_COMMAND = re.compile(r",? (?:and |or |then )*isthmus ")
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
NO_COMMANDS = {"ratings"}  # the system "isthmus ratings" of an evaluation
UsageError = typer.BadParameter.__bases__[0]  # of the parser, which is a part of Typer
MAKERS = {"command_in", "command", "_command"}  # functions that make a command of its words


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
        for words in _named_in(text):
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


def remedies() -> Iterator[tuple[str, str]]:
    """Where a message names a command, and its words after ``isthmus``, those of the space too.

    These are literals that are no docstring, and the words that `command_in` and its like make a
    command of.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        made = [words for node in nodes for words in _words_of_command(node)]
        parts = [one for node in nodes if isinstance(node, ast.JoinedStr) for one in node.values]
        held = (node for node, _ in made)
        done = {id(node) for node in (*held, *parts, *chain(*map(_docstring, nodes)))}
        found = [(node, f"{text} --space SPACE") for node, text in made]
        found += [(n, words) for n in nodes if id(n) not in done for words in _named_in(_text(n))]
        for node, words in found:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}", words


def _named_in(text: str) -> Iterator[str]:
    """The commands that a text names, without the word ``isthmus``."""
    for found in COMMAND.finditer(re.sub(r"\s+", " ", text)):
        for words in NEXT_COMMAND.split(found[1] or found[2]):
            if words.split()[0].strip(".,'\"") not in NO_COMMANDS:
                yield words


def test_every_command_that_the_package_names_exists():
    named = list(commands())
    assert len(named) > 10
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


def test_words_that_are_joined_are_a_remedy():
    found = {words for _, words in remedies()}
    assert "attributes cast PLACEHOLDER PLACEHOLDER PLACEHOLDER --space SPACE" in found
    assert "scenarios set PLACEHOLDER --space SPACE" in found
    assert "precompute PLACEHOLDER --space SPACE" in found
    for where, node in joined():
        assert _text(node), f"{where}: {ast.unparse(node)} cannot be read; join a list"


def joined() -> Iterator[tuple[str, ast.Call]]:
    """Where `shlex.join` is called."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "shlex.join":
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def refusal(words: str) -> str | None:
    """Return why a command cannot be typed as it is; None if its parser takes it."""
    command = root_command()
    try:
        # What follows an option without a space is another option, where there is one.
        words = re.sub(r"(--[a-z-]+)PLACEHOLDER", r"\1", words)
        rest = shlex.split(words.replace("--PLACEHOLDER-", "--text-").replace("PLACEHOLDER", "1"))
        while hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        command.make_context("isthmus", rest).close()
    except (ValueError, LookupError, UsageError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def test_every_remedy_can_be_typed_and_names_the_space():
    named = list(remedies())
    assert len(named) > 60
    refused = [(where, words, refusal(words)) for where, words in named]
    assert not [one for one in refused if one[2] is not None]


@pytest.mark.parametrize(
    "words",
    ["publish", "rollback ten --space SPACE", "upsert --space SPACE", "verify --repare --space S"],
)
def test_a_remedy_that_its_parser_refuses_is_found(words):
    assert refusal(words) is not None


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


def _text(node: ast.AST) -> str:
    """What a literal, or a list that `shlex.join` joins, says; other values are placeholders."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_literal, node.values))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "shlex.join":
        words = node.args[0]
        return " ".join(map(_literal, words.elts)) if isinstance(words, ast.List) else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _docstring(node: ast.AST) -> list[ast.expr]:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    first = node.body[0] if node.body else None
    return [first.value] if isinstance(first, ast.Expr) else []


def _words_of_command(node: ast.AST) -> list[tuple[ast.expr, str]]:
    """The words, as a node and as text, that a call makes a command of, or a variable holds."""
    given: list[tuple[ast.expr, str]] = []
    if isinstance(node, ast.Call):
        function = node.func
        of_app = isinstance(function, ast.Attribute) and function.attr == "command"
        name = getattr(function, "id", "") or getattr(function, "attr", "")
        if name == "command_in":  # the space, the words, and values that follow them
            words, *values = node.args[1:]
            text = _text(words)
            given = [(words, " ".join([text, *("PLACEHOLDER" for _ in values)]))] if text else []
        elif name in MAKERS and not of_app:
            given = [(one, _text(one)) for one in node.args[-1:]]
    elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "words":
        given = [(node.value, _text(node.value))]
    return [(one, text) for one, text in given if text and not text.startswith("PLACEHOLDER")]
