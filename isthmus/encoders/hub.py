"""Model files: found on a hub or in a local folder, read safely, and hashed by their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isthmus.errors import InvalidInput, IsthmusError, MissingDependency, UnknownEncoder

if TYPE_CHECKING:
    import torch

CHECKPOINTS = ("model.safetensors", "pytorch_model.bin", "model.pth")

_CUSTOM_CODE = (
    "its files name Python code of their own, and Isthmus does not run code from a model's folder "
    "unasked; give a model of a known kind, install a package that registers it as an encoder "
    "(entry point isthmus.encoders), or, if you have read and trust the code, give "
    "trust_remote_code=true, for a local folder or with revision= and a full commit hash"
)
_CLASS_NAMES = (
    *("tokenizer_class", "image_processor_type", "feature_extractor_type"),
    *("video_processor_type", "processor_class"),
)
_ACTIVATION = "activation_function"  # of Sentence Transformers: a dotted name
_COMMIT = re.compile("[0-9a-f]{40}")
_PATH_PREFIX = re.compile(r"[/.~\\]|[A-Za-z]:\\")


class ModelSource(NamedTuple):
    """Where a model is loaded from.

    Attributes
    ----------
    name : str
        A name on the hub, or a path.
    local : bool
        Whether `name` is a path; the network is not used then.
    revision : str or None
        Branch, tag or commit on the hub; None for the newest.
    trusted : bool
        Whether Python code of the model may run.
    """

    name: str
    local: bool
    revision: str | None = None
    trusted: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of ``from_pretrained``: where to look, and whether code of the model runs."""
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"local_files_only": self.local, "trust_remote_code": self.trusted, **revision}

    @property
    def components(self) -> dict[str, str]:
        """Components of an encoder whose model runs code of its own; no others need any."""
        if not self.trusted:
            return {}
        return {"code": self.revision or digest_of_code(Path(self.name))}


def refuse_custom_code(settings: Any, spec: str) -> None:
    """Raise if the settings of a model ask for code of its own to be run.

    Raises
    ------
    UnknownEncoder
        If ``trust_remote_code`` stands anywhere in them.
    """
    if isinstance(settings, Mapping):
        if settings.get("trust_remote_code"):
            raise UnknownEncoder(f"cannot load {spec!r}: {_CUSTOM_CODE}")
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for value in settings:
            refuse_custom_code(value, spec)


def is_path(name: str) -> bool:
    """Return whether a name is a path: it is written like one, or exists in the file system.

    Examples
    --------
    >>> is_path("/models/clip"), is_path("~/clip"), is_path("laion2b_s34b_b79k")
    (True, True, False)
    """
    return bool(name) and (bool(_PATH_PREFIX.match(name)) or Path(name).exists())


def local_path(name: str, spec: str) -> Path | None:
    """Return the folder or file of a name, or None for a name on a hub.

    Raises
    ------
    UnknownEncoder
        If the name is a path that does not exist; the message quotes `spec`.
    """
    if not is_path(name):
        return None
    path = Path(name).expanduser()
    if not path.exists():
        raise UnknownEncoder(f"cannot load {spec!r}: nothing is at {path}")
    return path


def find_source(
    name: str, spec: str, revision: str | None = None, trust_remote_code: str | None = None
) -> ModelSource:
    """Return where the model of a name is: a local folder or the hub.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    spec : str
        For the messages.
    revision : str, optional
        Branch, tag or commit on the hub.
    trust_remote_code : {"true", "false"}, optional
        Whether Python code of the model may run, from a local folder or of a full commit hash:
        anything else could be other code tomorrow.

    Raises
    ------
    InvalidInput
        If an option does not fit the name.
    UnknownEncoder
        If there is no such folder, or it names code that it is not trusted to run.
    """
    path = local_path(name, spec)
    if trust_remote_code not in (None, "true", "false"):
        raise InvalidInput(f"trust_remote_code={trust_remote_code} is neither true nor false")
    trusted = trust_remote_code == "true"
    if path is None:
        if trusted and not _COMMIT.fullmatch(revision or ""):
            raise InvalidInput(
                f"trust_remote_code=true would run whatever code {name} holds today; pin it with "
                "revision= and a full commit hash, or give a local folder"
            )
        return ModelSource(name, False, revision, trusted)
    if revision is not None:
        raise InvalidInput(f"revision is for names on the hub, and {path} is a folder")
    if not trusted:
        _refuse_custom_classes(path, spec)
    return ModelSource(str(path), True, None, trusted)


def digest_of_code(folder: Path) -> str:
    """Return the digest of the Python files of a model's folder."""
    files = sorted(folder.rglob("*.py"))
    return hash_settings(
        [[str(file.relative_to(folder)), file.read_text("utf-8")] for file in files]
    )


def _refuse_custom_classes(folder: Path, spec: str) -> None:
    """Raise if the preprocessing or an activation of a model is a class of its own.

    The libraries would take another class in its place, and give other vectors unsaid.
    """
    for file in sorted([*folder.glob("*config.json"), *folder.glob("*/config.json")]):
        try:
            settings = json.loads(file.read_text("utf-8"))
        except ValueError:
            continue  # the library says what is wrong with it
        if isinstance(settings, dict) and any(map(_is_custom, _classes_in(settings))):
            raise UnknownEncoder(f"cannot load {spec!r}: {_CUSTOM_CODE} ({file.name})")


def _classes_in(settings: dict[str, Any]) -> Iterator[str]:
    keys = [_ACTIVATION, *(_CLASS_NAMES if settings.get("auto_map") else ())]
    yield from (settings[key] for key in keys if isinstance(settings.get(key), str))


def _is_custom(name: str) -> bool:
    """Return whether a name is that of a class which neither PyTorch nor Transformers has.

    Examples
    --------
    >>> [_is_custom(name) for name in ("torch.nn.modules.activation.Tanh", "gelu_new", "evil.Tanh")]
    [False, False, True]
    """
    if "." in name:
        return not name.startswith("torch.")
    return name[:1].isupper() and not _is_known(name)


def _is_known(class_name: str) -> bool:
    import transformers

    bare = class_name.removesuffix("Fast")
    return any(hasattr(transformers, name) for name in (bare, f"{bare}Fast"))


def find_checkpoint(name: str, spec: str) -> Path:
    """Return the checkpoint at a path: the file itself, or the one in the folder.

    Raises
    ------
    UnknownEncoder
        If there is none.
    """
    path = local_path(name, spec)
    if path is None:
        raise UnknownEncoder(f"cannot load {spec!r}: there is no checkpoint {name!r}")
    if path.is_file():
        return path
    for file in CHECKPOINTS:
        if (path / file).is_file():
            return path / file
    raise UnknownEncoder(f"cannot load {spec!r}: {path} has none of {', '.join(CHECKPOINTS)}")


@contextmanager
def explain_load_errors(spec: str) -> Iterator[None]:
    """Turn any error of a library while it loads a model into one that names the remedy.

    Raises
    ------
    MissingDependency
        If a package cannot be imported.
    UnknownEncoder
        If anything else fails. Errors of Isthmus pass unchanged.
    """
    try:
        yield
    except IsthmusError:
        raise
    except ImportError as error:
        raise MissingDependency(f"{spec!r} needs a package that is absent: {error}") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise UnknownEncoder(f"cannot load {spec!r}: {_CUSTOM_CODE}") from error
        raise UnknownEncoder(
            f"cannot load {spec!r}: {_first_line(error)}. If this machine cannot reach the model "
            "hub, download the model elsewhere and give its local folder in place of the name"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint: safetensors, or a pickle that holds nothing but tensors."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    # A pickle can run code when it is read; `weights_only` refuses everything but tensors.
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def hash_text(text: str) -> str:
    """Digest a text: a vocabulary, a configuration."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def hash_settings(settings: Any) -> str:
    """Digest nested settings, independent of the order of their names.

    Examples
    --------
    >>> hash_settings({"a": 1, "b": 2}) == hash_settings({"b": 2, "a": 1})
    True
    """
    return hash_text(json.dumps(settings, sort_keys=True, default=str))
