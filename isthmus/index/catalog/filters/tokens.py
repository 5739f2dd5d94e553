"""The tokens of filters: names, words, numbers, texts and signs, and what a literal may be."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from isthmus.errors import InvalidFilter

MAX_SHOWN = 300

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*')
      | `(?P<name>[^`]*)`
      | (?P<number>(?:\d[\w.]*|\.\d\w*)(?:(?<=[eE])[+-]\d+)?)
      | (?P<word>\w+)
      | (?P<sign>--|/\*|::|\|\||<=|>=|<>|!=|==|[^\w\s])""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?)?\ ?(?P<zone>Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_REFUSED_SIGNS = {
    '"': "text stands in 'single quotes', a column's name bare or in `backquotes`; "
    "double quotes are refused, since they might mean either.",
    "'": "a single quote is not closed; write one inside a text twice.",
    "`": "a backquote is not closed.",
    "--": "comments are refused.",
    "/*": "comments are refused.",
    ";": "a filter is one predicate, without a semicolon.",
    **dict.fromkeys("$?:", "parameters are refused; write the value itself."),
}


def shorten(text: str) -> str:
    """Return a text cut to a length that fits in a message."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


@dataclass(frozen=True)
class Token:
    """A token of a filter."""

    kind: str  # text, name, number, word, sign or end
    text: str
    lower: str
    follows_directly: bool  # no white space before it


def tokens_of(where: str) -> list[Token]:
    """Return the tokens of a filter, the last of which is its end.

    Raises
    ------
    InvalidFilter
        If a sign is refused, or a quote is not closed.
    """
    found, spaced = [], True
    for match in _TOKEN.finditer(where):
        kind = str(match.lastgroup)
        if kind == "space":
            spaced = True
            continue
        text = match[kind]
        if kind == "sign" and text in _REFUSED_SIGNS:
            raise InvalidFilter(_REFUSED_SIGNS[text])
        lower = text.lower() if kind in ("word", "sign") else ""
        found.append(Token(kind, text, lower, not spaced))
        spaced = False
    return [*found, Token("end", "", "", False)]


def checked_number(text: str) -> str:
    """Return a number as it is written; raise `InvalidFilter` if it is none."""
    if not _NUMBER.fullmatch(text):
        raise InvalidFilter(f"{shorten(repr(text))} is no number.")
    return text


def checked_date(text: str) -> str:
    """Return a date as it is written; raise `InvalidFilter` if it is none."""
    try:
        if _DATE.fullmatch(text):
            dt.date.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise InvalidFilter(
        f"{shorten(repr(text))} is no date; write a date as date '2026-01-31', with a year from "
        "0001 to 9999."
    )


def checked_timestamp(text: str) -> str:
    """Return a time as it is written; raise `InvalidFilter` if it is none."""
    try:
        if found := _TIME.fullmatch(text):
            dt.date.fromisoformat(found["date"])
            dt.time.fromisoformat((found["clock"] or "00:00:00") + (found["zone"] or ""))
            return text
    except ValueError:
        pass
    raise InvalidFilter(
        f"{shorten(repr(text))} is no time; write a time as timestamp '2026-01-31 12:00:00', with "
        "fractions of a second and +02:00 behind it where they are needed."
    )
