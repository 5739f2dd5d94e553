"""Addresses of the Internet that a catalogue may make this machine contact.

A catalogue comes from others, and its addresses are fetched from inside the network of whoever
loads it. So only addresses that anyone can reach are contacted (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

ADDRESS = ("http://", "https://")
_UNICAST_6 = ipaddress.ip_network("2000::/3")  # all that IANA assigns to the public Internet
_REFUSED_6 = tuple(
    map(
        ipaddress.ip_network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which wraps any IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
_REFUSED_4 = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


@dataclass(frozen=True)
class MediaLimits:
    """What may be read.

    Attributes
    ----------
    max_bytes : int
        Largest file, in bytes.
    http : bool
        Whether http(s) addresses may be fetched at all.
    timeout_s : float
        Longest fetch, in seconds, from resolving the host to the last byte.
    private_addresses : bool
        Whether hosts that are not on the public Internet may be contacted.
    """

    max_bytes: int = 256 * 2**20
    http: bool = False
    timeout_s: float = 10.0
    private_addresses: bool = False


def is_address(reference: str) -> bool:
    """Return whether a reference is an http(s) address."""
    return reference[:8].lower().startswith(ADDRESS)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to one host of the public Internet.

    Everything else is not: private, loopback, link-local, shared, reserved, multicast and
    documentation ranges, and IPv6 forms that wrap an IPv4 address (mapped, compatible, NAT64,
    6to4, Teredo), whatever they wrap.

    Examples
    --------
    >>> [is_public(a) for a in ("93.184.216.34", "10.0.0.1", "::ffff:93.184.216.34", "fe80::1%lo")]
    [True, False, False, False]
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _REFUSED_4)
    return ip in _UNICAST_6 and not any(ip in network for network in _REFUSED_6)
