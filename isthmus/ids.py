"""Ids of items and users: text, verbatim.

One rule holds wherever an id goes in or comes out: adding, reading, deleting, filtering, examples,
users, interactions and answers. A text is taken as it stands, without trimming. A whole number
becomes its decimal text. Anything else is refused: floats and booleans, since ``1.0`` and ``True``
have no one spelling; empty text; control characters, which terminals and files mangle; and text
that is no valid Unicode.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Annotated, Any

from pydantic import BeforeValidator

from isthmus.errors import InvalidInput

ALLOWED = "is text or a whole number"


def id_problem(value: Any, what: str = "an id") -> str | None:
    r"""Return why a value is no id, in words that follow its name; None where it is one.

    Kinds of event and domains follow the same rule; `what` names what the value should be.

    Examples
    --------
    >>> id_problem("film-1"), id_problem(7)
    (None, None)
    >>> id_problem(7.0)
    'is 7.0 (float); an id is text or a whole number'
    >>> id_problem(True, "a kind of event")
    'is True (bool); a kind of event is text or a whole number'
    >>> id_problem("a\tb")
    "is 'a\\tb', which holds a control character; an id is text or a whole number"
    """
    if isinstance(value, str):
        return _text_problem(value, what)
    if value is None:
        return f"is missing; {what} {ALLOWED}"
    if is_whole(value):
        return None
    name = type(value).__name__
    remedy = f"; give str(...), {str(value)!r}" if name == "UUID" else ""
    return f"is {value!r} ({name}); {what} {ALLOWED}{remedy}"


def to_id(value: Any, what: str = "id") -> str:
    """Return an id as text.

    Parameters
    ----------
    value : str or int
        The id; whole numbers of NumPy and Arrow are numbers too.
    what : str, default "id"
        What it is the id of, for the message.

    Raises
    ------
    InvalidInput
        If it is no id; the message says why.

    Examples
    --------
    >>> to_id(5), to_id(" 007 ")
    ('5', ' 007 ')
    """
    if hasattr(value, "as_py"):  # an Arrow scalar
        value = value.as_py()
    problem = id_problem(value)
    if problem is not None:
        raise InvalidInput(f"{what} {problem}")
    return value if isinstance(value, str) else str(int(value))


def to_ids(values: Any, what: str = "id") -> list[str]:
    """Return one id, or several in any collection (also NumPy, Arrow and pandas), as texts.

    Raises
    ------
    InvalidInput
        If one is no id; the message gives its position.

    Examples
    --------
    >>> to_ids("a"), to_ids([1, "b"])
    (['a'], ['1', 'b'])
    """
    if is_single(values):
        return [to_id(values, what)]
    return [to_id(value, f"{what} {at}") for at, value in enumerate(values)]


def is_single(values: Any) -> bool:
    """Return whether a value is one id rather than a collection of ids.

    Examples
    --------
    >>> is_single("ab"), is_single(["ab"])
    (True, False)
    """
    if isinstance(values, str | bytes | Mapping) or hasattr(values, "as_py"):
        return True
    return not isinstance(values, Iterable)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; a truth value is none."""
    # NumPy registers its integers as Integral, and its booleans not; a bool of Python is one.
    return isinstance(value, Integral) and not isinstance(value, bool)


def _text_problem(text: str, what: str) -> str | None:
    if not text.strip():
        return f"is empty; {what} {ALLOWED}"
    if not text.isprintable():
        kinds = {unicodedata.category(character) for character in text}
        if "Cc" in kinds:
            return f"is {text!r}, which holds a control character; {what} {ALLOWED}"
        if "Cs" in kinds:
            return f"is {text!r}, which is no valid Unicode"
    return None


Id = Annotated[str, BeforeValidator(to_id)]
Ids = Annotated[
    tuple[str, ...], BeforeValidator(lambda ids: () if ids is None else tuple(to_ids(ids)))
]
