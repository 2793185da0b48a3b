"""Protects a server on this machine from other web sites, and isolates its page.

A page of another site can send requests to 127.0.0.1, and can let its own name point there (DNS rebinding).
So every request must name this server as its host, and a request that changes something must not come from
the page of another origin. The headers of the answers isolate the page, which gives it threads (cross-origin
isolation, HTML standard, section 7.1.4), and keep other sites from embedding answers.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ANSWER_HEADERS", "Guard", "is_own_host", "is_own_origin"]

ANSWER_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""

_READING = ("GET", "HEAD")


class Guard:
    """ASGI middleware: refuses requests for other hosts and from other origins, and adds `ANSWER_HEADERS`.

    Args:
        app: the application.
        hosts: names that this server answers to, besides this machine's own and IP addresses.
        refuses: whether to refuse anything; a server that demands a secret in each request need not.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), *, refuses: bool = True) -> None:
        self._app, self._refuses = app, refuses
        self._hosts = frozenset(host.lower() for host in (*hosts, "localhost", socket.gethostname()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ANSWER_HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = self._app if refusal is None else JSONResponse({"error": refusal}, 403)
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        if not self._refuses:
            return None
        host = headers.get("host", "")
        if not is_own_host(host, self._hosts):
            return f"this server does not answer to the name {host[:100]!r}; open it by its address"
        if method in _READING:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if not is_own_origin(origin, host) or site not in ("same-origin", "none"):
            sender = (origin or "another site")[:100]
            return f"the request comes from a page of {sender!r}; only this server's own page may send it"
        return None


def is_own_host(host: str, names: frozenset[str]) -> bool:
    """Whether the header Host names this server: by an IP address, or by one of its names."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether the header Origin is that of the server's own page; programs that are no browser send none."""
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
