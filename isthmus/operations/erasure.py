"""Certificates of erasure: what was deleted of a user, what was searched, and what is left.

A certificate is JSON, signed with Ed25519 (RFC 8032) over its canonical form: keys sorted, no
spaces, without the signature. It names the user by a salted SHA-256 digest, so that who keeps it
keeps no id.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.data.lance_manifest import manifest_name, versions_of
from isthmus.data.lance_tables import open_unchecked
from isthmus.data.paths import local_path
from isthmus.data.table_checksums import read_manifest
from isthmus.durable import make_folder, write_atomically
from isthmus.errors import InvalidInput, command_in
from isthmus.index.open_space import OpenSpace
from isthmus.index.releases.release import Releases
from isthmus.operations.forgetting import ForgottenReport, forms_of, verify_forgotten
from isthmus.operations.interactions import forget_user
from isthmus.operations.items import compact_space
from isthmus.operations.signing import is_signed, signing_key
from isthmus.retrieval.recommend.store import published_description
from isthmus.schema import USER_TABLES

FORMAT: Final = 1
SIGNATURE: Final = "signature"
PUBLIC_KEY: Final = "public_key"
SALT_BYTES: Final = 16
CHUNK: Final = 2**20


@dataclass(frozen=True)
class CheckedCertificate:
    """What a certificate says, and what the space holds now.

    Attributes
    ----------
    certificate : dict
        The content; its signature is valid.
    search : ForgottenReport
        What a search for the user found now.
    """

    certificate: dict[str, Any]
    search: ForgottenReport

    def as_dict(self) -> dict[str, Any]:
        """Return both as plain values."""
        return {"certificate": self.certificate, "search": self.search.as_dict()}


def erase_user(
    space: OpenSpace, user_id: str, certificate: Path, key_file: Path, *, progress: bool = False
) -> dict[str, Any]:
    """Forget a user, clear the disk, search the space, and write a certificate, see `Space`."""
    place = local_path(certificate)
    if place.is_relative_to(space.path.absolute()):
        raise InvalidInput(
            f"the certificate {place} would stand in the space that is searched; write it elsewhere"
        )
    key = signing_key(local_path(key_file))
    formers, before = space.interactions.merged.formers(user_id), _tables(space)
    deleted = forget_user(space, user_id)
    compact_space(space, 0.0, progress=progress)
    search = verify_forgotten(space, user_id, formers, progress=progress)
    content = _content(space, user_id, before, deleted, search)
    content[PUBLIC_KEY] = key.public_key().public_bytes_raw().hex()
    content[SIGNATURE] = key.sign(_signed(content)).hex()
    make_folder(place.parent)
    write_atomically(place, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return content


def check_certificate(
    space: OpenSpace, certificate: Path, user_id: str, *, progress: bool = False
) -> CheckedCertificate:
    """Check a certificate, and search the space for its user again, see `Space`."""
    content = _read(local_path(certificate))
    user = content["user"]
    if _digest(bytes.fromhex(user["salt"]), user_id) != user["sha256"]:
        raise InvalidInput(f"the certificate {certificate} is of another user than {user_id!r}")
    return CheckedCertificate(content, verify_forgotten(space, user_id, progress=progress))


def _content(
    space: OpenSpace,
    user_id: str,
    before: Mapping[str, Mapping[str, Any]],
    deleted: int,
    search: ForgottenReport,
) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    after = _tables(space)
    return {
        "format": FORMAT,
        "space": space.path.name,
        "issued": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": {"salt": salt.hex(), "sha256": _digest(salt, user_id)},
        "deleted_interactions": deleted,
        "tables": {
            name: {"before": before.get(name), "after": after.get(name)}
            for name in sorted({*before, *after})
        },
        "searched": {
            "versions": search.versions,
            "files": search.files,
            "bytes": search.bytes,
            "forms": forms_of(user_id),
        },
        # Without remedies, which may name the user.
        "left": [{"where": trace.where, "found": trace.found} for trace in search.traces],
        "recommenders": _recommenders(space),
        "notes": search.notes,
        "verification": command_in(
            Path(space.path.name), "verify --certificate FILE --forgotten USER"
        ),
    }


def _tables(space: OpenSpace) -> dict[str, dict[str, Any]]:
    """Return the newest version of each table of users: its rows, and a digest of its files."""
    tables = {}
    for name in USER_TABLES:
        table = space.path / name
        versions = versions_of(table)
        if versions:
            tables[name] = {
                "version": versions[-1],
                "rows": int(open_unchecked(table, versions[-1]).count_rows()),
                "sha256": _digest_of_table(table, versions[-1]),
            }
    return tables


def _digest_of_table(table: Path, version: int) -> str:
    """Return the SHA-256 of the manifest of a version and of its files, in their order."""
    total = hashlib.sha256()
    for name in (manifest_name(version), *read_manifest(table, version).files):
        total.update(name.encode() + b"\0")
        with (table / name).open("rb") as file:
            while part := file.read(CHUNK):
                total.update(part)
    return total.hexdigest()


def _recommenders(space: OpenSpace) -> list[dict[str, Any]]:
    """Return the releases whose recommender learned from events that are deleted by now."""
    held = []
    for release in Releases(space.path).all():
        published = published_description(release)
        if published is None:
            continue
        description, _ = published
        deleted = space.interactions.deleted_since(description.extent)
        if deleted:
            held.append(
                {
                    "release": release.number,
                    "trained": description.created,
                    "deleted_events": deleted,
                    "until": "the next training is published and "
                    f"{space.settings.index.keep_releases} newer releases have been",
                }
            )
    return held


def _digest(salt: bytes, user_id: str) -> str:
    return hashlib.sha256(salt + user_id.encode()).hexdigest()


def _signed(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: canonical JSON without the signature."""
    signed = {name: value for name, value in content.items() if name != SIGNATURE}
    return json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a certificate.

    Raises
    ------
    InvalidInput
        If it cannot be read, or was changed since it was signed.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        version = content["format"]
        signature, key = (bytes.fromhex(content[name]) for name in (SIGNATURE, PUBLIC_KEY))
        intact = is_signed(_signed(content), signature, key)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path} is no certificate of erasure: {error}") from error
    if version != FORMAT:
        raise InvalidInput(f"{path} has format {version!r}, not {FORMAT}")
    if not intact:
        raise InvalidInput(f"{path} was changed since it was signed; take the original")
    return content
