"""Where a server listens, and the server itself: shared by the application and the service."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from hidden_two_stream.errors import MissingDependencyError, UsageError

__all__ = ["AnnouncingServer", "bound", "is_loopback", "require_address", "require_libraries", "shown_host"]


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
