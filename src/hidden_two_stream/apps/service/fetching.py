"""Downloads a video from an allowed URL into a file, with limits on size and time."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import Protocol
from urllib.parse import urljoin

from hidden_two_stream.apps.service.allowed import AllowedUrls, Target
from hidden_two_stream.apps.service.failures import FetchError, SlowUploadError

__all__ = ["MOST_REDIRECTS", "Sink", "download", "num_bytes"]

MOST_REDIRECTS = 3
_CHUNK_BYTES = 1 << 18
_CONNECT_SECONDS = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)


class Sink(Protocol):
    """Where the bytes of a download go."""

    def require_room(self, num_bytes: int) -> None:
        """Raise an error if a video of this size is too large."""

    def write(self, chunk: bytes) -> None:
        """Take bytes, or raise an error if they are too many."""


def download(url: str, allowed: AllowedUrls, sink: Sink, seconds: float) -> None:
    """Download a URL. Redirects are followed as long as the list allows where they lead.

    Proxies of the environment are not used: they would make connections that are not checked.

    Args:
        url: as the request names it.
        allowed: the URLs that may be downloaded.
        sink: gets the bytes.
        seconds: how long the download may take.

    Raises:
        RefusedUrlError: the URL, or a redirect, is not allowed.
        FetchError: the server cannot be reached, or does not answer with a file.
        SlowUploadError: it takes too long.
        TooLargeError: the file is too large.
    """
    deadline = time.monotonic() + seconds
    for _ in range(MOST_REDIRECTS + 1):
        target = allowed.target(url)
        connection = _connected(target, allowed, deadline)
        try:
            location = _transfer(connection, target, sink, deadline)
        except TimeoutError as error:
            raise _too_slow(target) from error
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the download from {target.host!r} failed: {_reason(error)}") from error
        finally:
            connection.close()
        if location is None:
            return
        url = urljoin(url, location)
    raise FetchError(f"the URL redirects more than {MOST_REDIRECTS} times; give the final address")


def _connected(target: Target, allowed: AllowedUrls, deadline: float) -> http.client.HTTPConnection:
    """Return a connection to one of the addresses of a target, all of which were checked."""
    error: OSError | None = None
    for address in allowed.addresses(target):
        left = min(_CONNECT_SECONDS, deadline - time.monotonic())
        if left <= 0:
            raise _too_slow(target)
        try:
            plain = socket.create_connection((address, target.port), left)
        except OSError as failure:
            error = failure
            continue
        try:
            return _over(plain, target)
        except OSError as failure:
            plain.close()
            error = failure
    raise FetchError(f"cannot connect to {target.host!r}: {_reason(error)}") from error


def _over(plain: socket.socket, target: Target) -> http.client.HTTPConnection:
    """Return a connection that uses an open socket; for https, the certificate must be that of the name."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = plain
    if target.scheme == "https":
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        connection.default_port = 443
    return connection


def _transfer(
    connection: http.client.HTTPConnection, target: Target, sink: Sink, deadline: float
) -> str | None:
    """Pass the answer's bytes to the sink; return where a redirect leads, or None."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "hidden-two-stream"}
    connection.request("GET", target.path, headers=headers)
    with connection.getresponse() as answer:
        if answer.status in _REDIRECTS:
            location = answer.getheader("Location")
            if not location:
                raise FetchError(f"{target.host!r} redirects to nowhere (status {answer.status})")
            return location
        _require_file(answer, target)
        length = num_bytes(answer.getheader("Content-Length"))
        if length is not None:
            sink.require_room(length)
        received = 0
        while chunk := _read(connection, answer, target, deadline):
            received += len(chunk)
            sink.write(chunk)
    if length is not None and received < length:
        raise FetchError(f"the download from {target.host!r} ended after {received} of {length} bytes")
    return None


def _require_file(answer: http.client.HTTPResponse, target: Target) -> None:
    if answer.status != 200:
        raise FetchError(f"{target.host!r} answers with status {answer.status}; expected 200 and a file")
    if answer.getheader("Content-Encoding", "identity") != "identity":
        raise FetchError(f"{target.host!r} sends compressed data, which was not asked for")


def num_bytes(header: str | None) -> int | None:
    """Return the number in a header Content-Length; None: there is none, or it is no number."""
    if header is None or not (header.isascii() and header.isdecimal() and len(header) < 20):
        return None
    return int(header)


def _read(
    connection: http.client.HTTPConnection,
    answer: http.client.HTTPResponse,
    target: Target,
    deadline: float,
) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _too_slow(target)
    if connection.sock is not None:
        connection.sock.settimeout(left)
    return answer.read1(_CHUNK_BYTES)


def _too_slow(target: Target) -> SlowUploadError:
    return SlowUploadError(f"the download from {target.host!r} takes too long; upload the video itself")


def _reason(error: BaseException | None) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
