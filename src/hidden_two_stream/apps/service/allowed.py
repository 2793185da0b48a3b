"""Which URLs may be downloaded: those below listed addresses, at hosts that are not private.

A request that names a URL makes the service send a request of its own, from inside its network (server-side
request forgery). So only listed beginnings are allowed, each address is checked after the name was resolved,
and the connection goes to the address that was checked: a name that changes its address in between (DNS
rebinding) leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from hidden_two_stream.apps.service.failures import FetchError, RefusedUrlError
from hidden_two_stream.errors import UsageError

__all__ = ["LONGEST_URL", "AllowedUrls", "Target"]

LONGEST_URL = 4096
"""Characters of a URL."""

_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[\x21-\x7e]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Target:
    """The parts of a URL that may be downloaded.

    Attributes:
        scheme: "http" or "https".
        host: its name or address.
        port: its port.
        path: path and query, as a request names them.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


@dataclass(frozen=True)
class AllowedUrls:
    """The list of what may be downloaded.

    Attributes:
        prefixes: beginnings; a path is allowed if it is that of a prefix, or lies below it.
        networks: private networks that a name may lead to.
    """

    prefixes: tuple[Target, ...] = ()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, urls: Sequence[str], networks: Sequence[str] = ()) -> AllowedUrls:
        """Return the list of these entries.

        Raises:
            UsageError: an entry is wrong.
        """
        prefixes = []
        for url in urls:
            try:
                prefixes.append(_target(url))
            except ValueError as error:
                raise UsageError(
                    f"allow_urls has {url[:200]!r}: {error}; expected the beginning of addresses, such as "
                    "https://example.org/videos/"
                ) from error
            if urlsplit(url).query:
                raise UsageError(f"allow_urls has {url[:200]!r} with a query; give the address without it")
        found = []
        for network in networks:
            try:
                found.append(ipaddress.ip_network(network))
            except ValueError as error:
                raise UsageError(
                    f"allow_networks has {network[:100]!r}: {error}; expected a network such as 10.0.0.0/8"
                ) from error
        return cls(tuple(prefixes), tuple(found))

    def target(self, url: str) -> Target:
        """Return the parts of a URL that is on the list.

        Raises:
            RefusedUrlError: it is not.
        """
        if not self.prefixes:
            raise RefusedUrlError("this service downloads no URLs; upload the video itself")
        try:
            found = _target(url)
        except ValueError as error:
            raise RefusedUrlError(f"cannot use the URL {url[:200]!r}: {error}") from error
        if not any(_is_below(found, prefix) for prefix in self.prefixes):
            raise RefusedUrlError(f"the URL {url[:200]!r} is not among those that this service may download")
        return found

    def addresses(self, target: Target) -> list[str]:
        """Return the addresses of a target's host, all of which are allowed.

        Raises:
            RefusedUrlError: one is private, and not listed.
            FetchError: the name has none.
        """
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FetchError(f"cannot find the host {target.host!r}: {reason}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not self._may_reach(target.host, ipaddress.ip_address(address.partition("%")[0])):
                raise RefusedUrlError(
                    f"the host {target.host!r} has a private address, which this service may not reach"
                )
        return addresses

    def _may_reach(self, host: str, address: _Address) -> bool:
        if _literal(host) is not None:  # `target` found this very address on the list
            return True
        if any(address in network for network in self.networks):
            return True
        return all(part.is_global and not part.is_multicast for part in _meant(address))


def _target(url: str) -> Target:
    """Return the parts of a URL.

    Raises:
        ValueError: it is no URL of this kind, or could be read in two ways.
    """
    if len(url) > LONGEST_URL:
        raise ValueError(f"it has {len(url)} characters; expected at most {LONGEST_URL}")
    if not _PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError("it holds a space, a backslash or a character outside ASCII; escape it as %..")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError(f"its scheme is {parts.scheme[:20]!r}; expected http or https")
    if not parts.hostname:
        raise ValueError("it has no host")
    if "@" in parts.netloc:
        raise ValueError("it holds a user name; leave it out")
    _require_plain_path(parts)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme], path)


def _require_plain_path(parts: SplitResult) -> None:
    decoded = unquote(unquote(parts.path))
    if any(segment in (".", "..") for segment in re.split(r"[/\\]", decoded)):
        raise ValueError("its path holds . or ..; give the plain path")


def _is_below(target: Target, prefix: Target) -> bool:
    if target.origin != prefix.origin:
        return False
    path = target.path.partition("?")[0]
    return path == prefix.path or path.startswith(prefix.path.rstrip("/") + "/")


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _meant(address: _Address) -> list[_Address]:
    """Return an address, and the IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(address.packed[-4:]))
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [address, *(part for part in inner if part is not None)]
