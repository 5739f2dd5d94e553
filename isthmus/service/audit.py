"""The audit log: who wrote what and when, a JSON line for each write.

Users are in it under a keyed hash, each with a random key of their own. When a user is forgotten
the key is deleted, and no line can be told to be about that user any more.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.service.exchange import Exchange

MAX_USERS: Final = 100  # of one line
COUNTS: Final = ("added", "changed", "unchanged", "repeated", "invalid", "quarantined", "deleted")
WAIT_S: Final = 30.0


class AuditLog:
    """Writes lines about writes; several processes may share the file.

    Parameters
    ----------
    path : Path
        The file of lines; the keys of users lie beside it, in ``PATH.users``.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._users = UserKeys(path.with_name(f"{path.name}.users"))
        self._lock = threading.Lock()

    def write(self, exchange: Exchange) -> None:
        """Write the line of a write that was done."""
        assert exchange.operation is not None
        assert exchange.key is not None
        assert exchange.space is not None
        users = _users_of(exchange)
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": exchange.request_id,
            "key": exchange.key.id,
            "space": exchange.space.name,
            "operation": exchange.operation.name,
            "counts": _counts_of(exchange.result),
            "release": exchange.release,
        }
        if users:
            line["users"] = self._users.hashes(users[:MAX_USERS])
            line["n_users"] = len(users)
        if exchange.operation.name == "forget_user":
            self._users.forget(users)
        text = json.dumps(line) + "\n"  # what is not ASCII is escaped
        with self._lock:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)


class UserKeys:
    """A random key of each user that the log names.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY, key BLOB NOT NULL)"
            )

    def hashes(self, user_ids: Sequence[str]) -> list[str]:
        """Return the keyed hash of each user."""
        with self._connection() as connection, connection:
            connection.executemany(
                "INSERT OR IGNORE INTO users VALUES (?, ?)",
                [(user_id, secrets.token_bytes(16)) for user_id in user_ids],
            )
            found = [
                connection.execute("SELECT key FROM users WHERE user_id = ?", (user_id,)).fetchone()
                for user_id in user_ids
            ]
        return [
            hmac.new(key, user_id.encode(), hashlib.sha256).hexdigest()[:32]
            for user_id, (key,) in zip(user_ids, found, strict=True)
        ]

    def forget(self, user_ids: Iterable[str]) -> None:
        """Delete the keys of users; their bytes are overwritten."""
        with self._connection() as connection, connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.executemany("DELETE FROM users WHERE user_id = ?", [(u,) for u in user_ids])

    def _connection(self) -> closing[sqlite3.Connection]:
        before = os.umask(0o077)
        try:
            return closing(sqlite3.connect(self._path, timeout=WAIT_S))
        finally:
            os.umask(before)


def _users_of(exchange: Exchange) -> list[str]:
    arguments: dict[str, Any] = exchange.arguments
    found: list[Any] = [arguments.get("user_id"), arguments.get("user_ids"), arguments.get("into")]
    rows = arguments.get("source", arguments.get("events"))
    if isinstance(rows, list):
        column = arguments.get("user", "user_id")
        found += [row.get(column) for row in rows]
    return list(dict.fromkeys(str(user) for user in found if user is not None))


def _counts_of(result: Any) -> dict[str, int]:
    if isinstance(result, int):
        return {"count": result}
    return {name: getattr(result, name) for name in COUNTS if hasattr(result, name)}
