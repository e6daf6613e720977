"""Where an address lies: on the internet, in a private network, on this machine, or on its own link. Pure but for `place_of_host`."""

import ipaddress
import socket
from enum import IntEnum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Place(IntEnum):
    """The higher, the nearer to this machine, and the less a stranger may lead there."""

    INTERNET = 0
    PRIVATE = 1
    """A private, shared, multicast or reserved network."""
    LOOPBACK = 2
    LINK = 3
    """Link-local: in a cloud the address that gives out a machine's credentials."""


def may_lead(place: Place, target: Place) -> bool:
    """Whether a hub in ``place`` may redirect to ``target``: not nearer than it lies itself, and never to a link-local address.

    Who names a hub in a private network trusts it to name others there; what a hub on the internet names there is an attack.
    """
    return target <= place and target is not Place.LINK


def place_of(address: str) -> Place:
    """Where an IP address lies; of one that carries an IPv4 address (mapped, 6to4, Teredo, NAT64) that one counts.

    Raises:
        ValueError: It is no address.
    """
    found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_link_local:
        return Place.LINK
    if found.is_loopback or found.is_unspecified:
        return Place.LOOPBACK
    return Place.INTERNET if found.is_global and not found.is_multicast else Place.PRIVATE


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def place_of_host(host: str) -> Place:
    """The nearest place that a host name means.

    Raises:
        OSError: It means none, or nobody tells now.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host") from error
    return max(place_of(str(entry[4][0])) for entry in found)


def place_of_name(host: str) -> Place:
    """The same without asking anybody, as far as the name itself tells it: for requests whose names a proxy resolves."""
    try:
        return place_of(host)
    except ValueError:
        return Place.LOOPBACK if host == "localhost" or host.endswith(".localhost") else Place.INTERNET
