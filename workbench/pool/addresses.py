"""By which address one host reaches another."""

from __future__ import annotations

import ipaddress
import socket

from workbench.core.errors import ResourceError

LOOPBACK = "127.0.0.1"
_ANY_PORT = 9
_ELSEWHERE = "192.0.2.1"  # reserved for documents (RFC 5737): only the way there is asked for


def address_towards(host: str) -> str:
    """Return this host's own address on the way to another; nothing is sent.

    Raises:
        OSError: there is no way to it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, _ANY_PORT))
        return str(probe.getsockname()[0])


def own_address() -> str:
    """Return the address by which other hosts are likely to reach this one.

    Raises:
        ResourceError: it has none but loopback.
    """
    try:
        found = address_towards(_ELSEWHERE)
    except OSError:
        found = LOOPBACK
    if is_loopback(found):
        raise ResourceError(
            "No address is known by which other hosts could reach this one",
            where="pool",
            next_step="Set WORKBENCH_HOST to this host's address in the network of the pool.",
        )
    return found


def is_loopback(address: str) -> bool:
    """Whether an address is only of use on its own host."""
    return ipaddress.ip_address(address).is_loopback


def interface_of(address: str) -> str:
    """Return the network interface that has an address.

    Raises:
        ResourceError: none has.
    """
    import psutil

    for interface, found in psutil.net_if_addrs().items():
        if any(one.address == address for one in found):
            return str(interface)
    raise ResourceError(
        f"No network interface of this host has the address {address} any more",
        where="pool",
        next_step="Resume the run: it goes on from its last checkpoint.",
    )
