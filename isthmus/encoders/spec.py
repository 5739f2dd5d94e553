"""The words of a spec: kind, rest, options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from isthmus.errors import UnknownEncoder

# Kinds whose name may be a folder, and those that may have a checkpoint behind a colon.
_OF_FOLDERS = frozenset(
    {"transformers", "sentence-transformers", "clap", "static", "aligned", "open_clip"}
)
_OF_CHECKPOINTS = frozenset({"timm", "open_clip"})

_OPTIONS = re.compile(r"\?(?=\w+=)")
_LIKE_A_PATH = re.compile(r"[/.~\\]|[A-Za-z]:\\")


class Spec(NamedTuple):
    """A spec, divided.

    Attributes
    ----------
    kind : str
        What stands before the first slash.
    rest : str
        What stands behind it.
    options : dict of str to str
        What follows the question mark.
    """

    kind: str
    rest: str
    options: dict[str, str]


def parse_spec(spec: str) -> Spec:
    """Divide a spec.

    Examples
    --------
    >>> parse_spec("transformers/some/folder?pooling=cls&max_length=64")
    Spec(kind='transformers', rest='some/folder', options={'pooling': 'cls', 'max_length': '64'})
    """
    name, *query = _OPTIONS.split(spec, maxsplit=1)
    kind, _, rest = name.partition("/")
    return Spec(kind, rest, dict(parse_qsl(query[0], keep_blank_values=True)) if query else {})


def anchored(spec: str) -> str:
    """Give a spec that means the same in every working folder: its path is absolute.

    Specs of other kinds, of names on a hub and of ``aligned/local`` are what they were.

    Examples
    --------
    >>> anchored("timm/vit_small_patch14_dinov2.lvd142m"), anchored("aligned/local")
    ('timm/vit_small_patch14_dinov2.lvd142m', 'aligned/local')
    >>> anchored("static/~/small") == f"static/{Path.home() / 'small'}"
    True
    """
    name, *query = _OPTIONS.split(spec, maxsplit=1)
    path = _path_in(name)
    if path:
        name = f"{name.removesuffix(path)}{Path(path).expanduser().absolute()}"
    return "?".join([name, *query])


def path_of(spec: str) -> Path | None:
    """Give the folder or file that a spec names, or None if it names none.

    Examples
    --------
    >>> path_of("timm/test_vit:/models/vit.safetensors"), path_of("local/text")
    (PosixPath('/models/vit.safetensors'), None)
    """
    path = _path_in(_OPTIONS.split(spec, maxsplit=1)[0])
    return Path(path).expanduser() if path else None


def _path_in(name: str) -> str:
    """Give the path at the end of a spec without options; empty where there is none."""
    kind, _, rest = name.partition("/")
    checkpoint = rest.partition(":")[2]
    if kind in _OF_FOLDERS and is_path(rest) and name != "aligned/local":
        return rest
    return checkpoint if kind in _OF_CHECKPOINTS and is_path(checkpoint) else ""


def is_path(name: str) -> bool:
    """Tell whether a name is a path: something is there, or nothing else is written so.

    Examples
    --------
    >>> is_path("/models/clip"), is_path("~/clip"), is_path("laion2b_s34b_b79k")
    (True, True, False)
    """
    return bool(name) and (bool(_LIKE_A_PATH.match(name)) or Path(name).exists())


def local_path(name: str, spec: str) -> Path | None:
    """Give the folder or file that a name means, or None if it is a name on a hub.

    Raises
    ------
    UnknownEncoder
        If the name can only be a path and nothing is there.
    """
    if not is_path(name):
        return None
    path = Path(name).expanduser()
    if not path.exists():
        raise UnknownEncoder(f"cannot load {spec!r}: nothing is at {path}")
    return path
