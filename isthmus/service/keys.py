"""Keys of the service: who may do what, in which spaces and domains.

A key is a random text of 256 bits, shown once. The file has its SHA-256, which is as good as a slow
hash for a secret that nobody can guess. A process reads the file again when it changes, so a
revoked key is refused at the next request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shlex
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from isthmus.api.operations import SCOPES, Scope
from isthmus.durable import write_atomically
from isthmus.errors import InvalidInput, InvalidKey
from isthmus.index.catalog.filters.syntax import parse
from isthmus.requests import Names, Request

PREFIX: Final = "isk"
FORMAT: Final = 1
# Compared with where there is no such key, so that both take the same time.
_NOBODY: Final = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


class KeyRequest(Request):
    """What a key may do."""

    name: str = Field(default="", description="What the key is for, to recognise it.")
    scopes: tuple[Scope, ...] = Field(
        default=("read",), description="read, write, events, admin; repeat it."
    )
    spaces: Names = Field(default=None, description="Only these spaces; by default all.")
    domains: Names = Field(default=None, description="Only these domains, in all that it does.")
    where: str | None = Field(
        default=None, description="Filter that everything that it reads must pass."
    )
    max_concurrent: int | None = Field(
        default=None, ge=1, description="Requests at a time, in the place of that of the service."
    )

    def check(self) -> None:
        """Raise `InvalidInput` if it may do nothing, and `InvalidFilter` if its filter is none."""
        super().check()
        if not self.scopes:
            raise InvalidInput(f"a key without scopes opens nothing; give one of {SCOPES}")
        if self.where is not None:
            parse(self.where)


class Key(KeyRequest):
    """A key, as the file has it."""

    id: str
    digest: str
    created: str
    revoked: str | None = None

    @property
    def is_bound(self) -> bool:
        """Whether it reaches some items only."""
        return self.domains is not None or self.where is not None

    @property
    def may_measure(self) -> bool:
        """Whether it may see metrics, which are of all spaces and all of their items."""
        return self.spaces is None and not self.is_bound and self.allows("read")

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes

    def described(self) -> dict[str, Any]:
        """Return what may be shown of it."""
        return self.model_dump(exclude={"digest"})


ANYBODY: Final = Key(id="-", digest="", created="", scopes=SCOPES, name="no keys are set")


class KeyFile:
    """The keys of a service; safe for threads.

    Parameters
    ----------
    path : Path
        The file; no keys where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Key]:
        """Return the keys, the revoked ones too, oldest first."""
        return list(self._read().values())

    def create(self, request: KeyRequest) -> str:
        """Add a key and return it; it is not stored and cannot be shown again."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        text = f"{PREFIX}_{key_id}_{secret}"
        key = Key(
            **request.model_dump(),
            id=key_id,
            digest=_digest(text),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._write([*self.all(), key])
        return text

    def revoke(self, key_id: str) -> None:
        """Revoke a key; it stays in the file, so that the service is not open without keys.

        Raises
        ------
        InvalidInput
            If there is none with this id.
        """
        keys = self._read()
        if key_id not in keys:
            command = f"isthmus keys list --keys {shlex.quote(str(self.path))}"
            raise InvalidInput(f"no key {key_id!r} in {self.path}; see them with: {command}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        keys[key_id] = keys[key_id].model_copy(update={"revoked": keys[key_id].revoked or now})
        self._write(list(keys.values()))

    def holder(self, text: str) -> Key:
        """Return the key of a text.

        Raises
        ------
        InvalidKey
            If it is unknown or revoked.
        """
        key = self._read().get(text.split("_", 2)[1] if text.count("_") >= 2 else "")
        recorded = _NOBODY if key is None else key.digest
        matches = hmac.compare_digest(recorded, _digest(text))
        if key is None or not matches or key.revoked is not None:
            raise InvalidKey("the key is unknown or revoked; ask for one: isthmus keys create")
        return key

    def _read(self) -> dict[str, Key]:
        """Return the keys by id, read again if the file changed."""
        try:
            stat = os.stat(self.path)  # noqa: PTH116  # every request comes here
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            return {}
        stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
        with self._lock:
            if stamp != self._stamp:
                self._keys = _parsed(self.path)
                self._stamp = stamp
            return dict(self._keys)

    def _write(self, keys: Sequence[Key]) -> None:
        document = {"format": FORMAT, "keys": [key.model_dump(mode="json") for key in keys]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = os.umask(0o077)  # the file is for its owner
        try:
            write_atomically(self.path, json.dumps(document, indent=1).encode())
        finally:
            os.umask(before)


def _parsed(path: Path) -> dict[str, Key]:
    try:
        document = json.loads(path.read_text())
        keys = [Key(**one) for one in document["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the file of keys {path} cannot be read: {error}") from error
    return {key.id: key for key in keys}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
