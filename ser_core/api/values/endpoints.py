"""What an endpoint calls: a URL taken apart so that no client can understand it in another way. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": "80", "https": "443"}
_HOST = re.compile(r"[a-z0-9*?]([-a-z0-9._*?]*[a-z0-9*?])?")


@dataclass(frozen=True, slots=True)
class Server:
    """What an endpoint calls."""

    scheme: str
    host: str
    """In lower case; an IPv6 address in its shortest form."""
    port: str
    path: str

    @property
    def is_loopback(self) -> bool:
        """Whether it is the caller's own machine, written so that nobody else can answer."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def hears_in_clear(endpoint: str) -> bool:
    """Whether others on the way may read what is sent to ``endpoint``."""
    called = server(endpoint)
    return not endpoint.lower().startswith("https://") and (called is None or not called.is_loopback)


def server(endpoint: str) -> Server | None:
    """The server that ``endpoint``, or a pattern of endpoints, names; None where a client may understand it in another way."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return None
    authority = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@\\%]+))(?::(\d{1,5}|\*))?", parts.netloc.lower())
    if parts.scheme not in _PORTS or authority is None:
        return None
    address, name, port = authority.groups()
    host = _shortest(address) if address else name.removesuffix(".")
    if host is None or not (address or _HOST.fullmatch(host)):
        return None
    return Server(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def _shortest(address: str) -> str | None:
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        return None
