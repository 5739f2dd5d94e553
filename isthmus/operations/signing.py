"""Signatures with Ed25519 (RFC 8032), by cryptography."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from isthmus.durable import make_folder, partial_name, put_file
from isthmus.errors import InvalidInput, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file; made there, for its owner alone, if there is none.

    Raises
    ------
    MissingDependency
        Without ``cryptography``.
    InvalidInput
        If the file holds another kind of key, or one with a password.
    """
    ed25519, serialization = _library()
    if not path.exists():
        return _made(path, ed25519.Ed25519PrivateKey.generate(), serialization)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path} is no private key without a password: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InvalidInput(f"{path} holds no Ed25519 key; name another file, and one is made there")
    return cast("Ed25519PrivateKey", key)


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Return whether a signature is that of a message by a key.

    Raises
    ------
    MissingDependency
        Without ``cryptography``.
    ValueError
        If the public key is none.
    """
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _made(path: Path, key: Ed25519PrivateKey, serialization: Any) -> Ed25519PrivateKey:
    """Write a new key, durably, to a file that nobody else can read."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    make_folder(path.parent)
    partial = partial_name(path)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    put_file(partial, path)
    return key


def _library() -> tuple[Any, Any]:
    """Return the modules ``ed25519`` and ``serialization``."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "a certificate is signed by cryptography, which is not installed; install it with: "
            "pip install 'isthmus[certificates]'"
        ) from error
    return ed25519, serialization
