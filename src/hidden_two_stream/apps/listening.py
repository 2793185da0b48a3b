"""Where a server listens, and the server itself: shared by the application and the service."""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from hidden_two_stream.errors import MissingDependencyError, UsageError

__all__ = [
    "AnnouncingServer",
    "ServerSettings",
    "bound",
    "is_loopback",
    "require_address",
    "require_libraries",
    "shown_host",
]

_MEGABYTE = 1_000_000


class ServerSettings:
    """What the settings of every server have: an address, and limits on uploads.

    Attributes:
        host: address to listen at.
        port: port to listen at; 0: any free one.
        max_upload_mb: largest uploaded file, MB (10⁶ bytes).
        max_stored_mb: all uploaded files that are kept at a time, MB.
    """

    host: str
    port: int
    max_upload_mb: float
    max_stored_mb: float

    def require_valid(self, positive: Mapping[str, str], counts: Mapping[str, str]) -> None:
        """Check the address and the limits.

        Args:
            positive: fields that are positive numbers, with their units.
            counts: fields that are 1 or more, with what they count.

        Raises:
            UsageError: a value is out of range.
        """
        require_address(self.host, self.port)
        for name, unit in positive.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}; expected a positive number of {unit}")
        for name, unit in counts.items():
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more {unit}")
        if self.max_stored_mb < self.max_upload_mb:
            raise UsageError(
                f"max_stored_mb is {self.max_stored_mb:g}, less than one video may have (max_upload_mb is "
                f"{self.max_upload_mb:g}); give room for several videos"
            )

    @property
    def max_upload_bytes(self) -> int:
        """Largest uploaded file, bytes."""
        return round(self.max_upload_mb * _MEGABYTE)

    @property
    def max_stored_bytes(self) -> int:
        """All uploaded files that are kept at a time, bytes."""
        return round(self.max_stored_mb * _MEGABYTE)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


class AnnouncingServer:
    """A uvicorn server that calls a function once it listens."""

    def __init__(self, server: Any, ready: Callable[[], None]) -> None:
        self._server = server
        startup = server.startup

        async def announced(sockets: Any = None) -> None:
            await startup(sockets)
            if server.started:
                ready()

        server.startup = announced

    def run(self, listening: socket.socket) -> None:
        """Serve until a signal ends the process."""
        self._server.run(sockets=[listening])


def require_libraries(what: str, libraries: Sequence[str], extra: str) -> None:
    """Check that libraries are installed, without importing them.

    Raises:
        MissingDependencyError: one is not; the message names all that are missing, and the extra.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        names = " and ".join([", ".join(missing[:-1]), missing[-1]] if missing[1:] else missing)
        raise MissingDependencyError(
            f"{what} needs {names}; install {'it' if len(missing) == 1 else 'them'} "
            f"with: pip install 'hidden-two-stream[{extra}]'"
        )


def require_address(host: str, port: int) -> None:
    """Check where a server is to listen.

    Raises:
        UsageError: the host is empty, or the port is out of range.
    """
    if not host.strip():
        raise UsageError("the host is empty; expected an address, such as 127.0.0.1")
    if not 0 <= port <= 65535:
        raise UsageError(f"the port is {port}; expected 0 to 65535 (0: any free one)")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address.

    Raises:
        UsageError: the address or the port cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(f"cannot listen at {host!r}: {error.strerror or error}; check --host") from error
    try:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise UsageError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; choose another --port (0: any free "
            "one)"
        ) from error
    return found


def shown_host(host: str) -> str:
    """Return the host of a link to a server that listens at `host`."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
