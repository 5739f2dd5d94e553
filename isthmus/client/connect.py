"""`isthmus.connect`: a space in a folder, or one that a service serves, by the same verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from isthmus.data.addresses import is_address
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.space import Space

if TYPE_CHECKING:
    from isthmus.client.remote import AsyncRemoteSpace, RemoteSpace


@overload
def connect(address: Path, **options: Any) -> Space: ...


@overload
def connect(
    address: str, *, key: str | None = None, space: str | None = None, **options: Any
) -> Space | RemoteSpace: ...


def connect(
    address: str | Path, *, key: str | None = None, space: str | None = None, **options: Any
) -> Space | RemoteSpace:
    """Return a space: that of a folder, or one that a service serves.

    Both have the same verbs, with the same arguments, results and errors.

    Parameters
    ----------
    address : str or Path
        A folder, or the address of a service, such as ``http://host:8080``.
    key : str, optional
        The key of the service.
    space : str, optional
        Name of the space, where the service has several.
    **options
        Those of `Space.open` for a folder, of `RemoteSpace` for a service.

    Raises
    ------
    SpaceNotFound
        If the folder is no space.
    InvalidInput
        If a key or a name is given for a folder.
    MissingDependency
        If httpx is not installed (extra ``http``).

    Examples
    --------
    ``isthmus.connect("shop.space").search("red boots")``
    ``isthmus.connect("http://host:8080", key="isk_…").search("red boots")``
    """
    if isinstance(address, str) and is_address(address):
        remote: RemoteSpace = _clients().RemoteSpace(address, key, space=space, **options)
        return remote
    if key is not None or space is not None:
        raise InvalidInput(f"key and space are for a service; {address} is a folder")
    return Space.open(address, **options)


def connect_async(
    address: str, *, key: str | None = None, space: str | None = None, **options: Any
) -> AsyncRemoteSpace:
    """Return a space that a service serves, whose verbs are coroutines.

    Parameters
    ----------
    address : str
        Address of the service.
    key, space, **options
        As of `connect`.

    Raises
    ------
    InvalidInput
        If it is no address.

    Examples
    --------
    ``hits = await isthmus.connect_async("http://host:8080").search("red boots")``
    """
    if not is_address(address):
        raise InvalidInput(f"{address!r} is no address; give one such as http://host:8080")
    remote: AsyncRemoteSpace = _clients().AsyncRemoteSpace(address, key, space=space, **options)
    return remote


def _clients() -> Any:
    try:
        from isthmus.client import remote
    except ModuleNotFoundError as error:
        if error.name not in ("httpx", "orjson"):
            raise
        raise MissingDependency(
            f"a service is reached with {error.name}, which is not installed; install it with: "
            "pip install 'isthmus[http]'"
        ) from error
    return remote
