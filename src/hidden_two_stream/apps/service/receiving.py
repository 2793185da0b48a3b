"""Receives the video of a request: a form, the plain body, or a URL. Nothing is held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from hidden_two_stream.apps.names import file_title
from hidden_two_stream.apps.service.allowed import LONGEST_URL, AllowedUrls
from hidden_two_stream.apps.service.failures import MalformedError, MediaTypeError
from hidden_two_stream.apps.service.fetching import download, num_bytes
from hidden_two_stream.apps.service.storage import StoredFile
from hidden_two_stream.apps.uploads import TooLargeError
from hidden_two_stream.files import parse_json

__all__ = ["FORM", "JSON", "MOST_JSON_BYTES", "RAW", "receive"]

FORM = "multipart/form-data"
JSON = "application/json"
RAW = ("application/mp4", "application/octet-stream", "application/ogg", "image/", "video/")
"""Media types of a body that is a video; "/" at the end stands for all kinds of it."""

MOST_JSON_BYTES = 16_384
"""Bytes of a body that names a URL."""

_FIELDS = ("file", "url")


async def receive(request: Request, file: StoredFile, urls: AllowedUrls, seconds: float) -> str:
    """Write the video of a request into a file and return its name.

    Args:
        request: its body is a form with the field "file" or "url", a video, or JSON {"url": …}.
        file: where the video goes.
        urls: the URLs that may be downloaded.
        seconds: how long a download may take.

    Raises:
        MediaTypeError: the body is of another kind.
        MalformedError: the form or the JSON is wrong.
        TooLargeError: it is too large.
        RefusedUrlError, FetchError, SlowUploadError: as `download`.
    """
    header = request.headers.get("content-type", "")
    kind = header.partition(";")[0].strip().lower()
    _require_plain(request, kind)
    length = num_bytes(request.headers.get("content-length"))
    if length is not None and kind != JSON:
        file.require_room(max(0, length - (_FORM_BYTES if kind == FORM else 0)))
    url, name = None, ""
    if kind == FORM:
        name, url = await _receive_form(_parts(header, request.stream()), file)
    elif kind == JSON:
        url = await _url_of(request)
    else:
        async for chunk in request.stream():
            file.write(chunk)
    if url is None:
        return file_title(name)
    await anyio.to_thread.run_sync(download, url, urls, file, seconds)
    return url


_FORM_BYTES = 65_536  # what a form may have around its file


def _require_plain(request: Request, kind: str) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise MediaTypeError(f"the body is encoded as {encoding[:40]!r}; send the video as it is")
    if kind in (FORM, JSON) or any(
        kind.startswith(known) if known.endswith("/") else kind == known for known in RAW
    ):
        return
    raise MediaTypeError(
        f"the body is of type {kind[:100]!r}; expected a video (video/mp4, application/octet-stream), a "
        f'form ({FORM}) with the field "file", or JSON ({JSON}) with a "url"'
    )


async def _url_of(request: Request) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON_BYTES:
            raise TooLargeError(f"the JSON has more than {MOST_JSON_BYTES:,} bytes")
    try:
        data = parse_json(body.decode("utf-8"))
    except ValueError as error:
        raise MalformedError(f"the body is no JSON: {error}") from error
    if not (isinstance(data, dict) and isinstance(data.get("url"), str) and len(data) == 1):
        raise MalformedError('the JSON is not of the form {"url": "https://…"}')
    url: str = data["url"]
    return url


# -- forms


async def _receive_form(parts: AsyncIterator[_Form], file: StoredFile) -> tuple[str, str | None]:
    """Write the field "file" into a file; return its file name, and the field "url" if that is given."""
    form: _Form | None = None
    async for form in parts:
        for chunk in form.taken():
            file.write(chunk)
    assert form is not None
    if form.seen == {"file"}:
        return form.name, None
    if form.seen == {"url"}:
        return "", form.url.decode("utf-8", "replace")
    raise MalformedError('the form needs either the field "file", a video, or the field "url"')


async def _parts(header: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[_Form]:
    """Yield the form each time that a part of it has arrived."""
    boundary = parse_options_header(header)[1].get(b"boundary", b"")
    try:
        form = _Form(boundary)
        async for chunk in chunks:
            form.feed(chunk)
            yield form
    except FormParserError as error:
        raise MalformedError(f"the form is damaged: {error}") from error
    if not form.ended:
        raise MalformedError("the form ends before its last boundary")
    yield form


class _Form:
    """The fields of a form, as they arrive.

    Attributes:
        seen: names of the fields.
        name: file name of the field "file".
        url: the field "url".
        ended: whether the form is complete.
    """

    def __init__(self, boundary: bytes) -> None:
        if not boundary:
            raise MalformedError("the header Content-Type names no boundary of the form")
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        self.seen: set[str] = set()
        self.name, self.url, self.ended = "", b"", False
        self._chunks: list[bytes] = []
        self._field, self._header, self._value = "", b"", b""
        self._disposition = b""

    def feed(self, chunk: bytes) -> None:
        """Parse further bytes."""
        if chunk:
            self._parser.write(chunk)

    def taken(self) -> list[bytes]:
        """Return the bytes of the field "file" that came since the last call."""
        found, self._chunks = self._chunks, []
        return found

    def _begin(self) -> None:
        self._disposition = self._header = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field not in _FIELDS:
            raise MalformedError(
                f'the form has the field {field[:40]!r}; expected "file" or "url" (top and threshold belong '
                "into the address: ?top=5)"
            )
        if field in self.seen:
            raise MalformedError(f'the form has the field "{field}" twice; send one video per request')
        self.seen.add(field)
        self._field = field
        if field == "file":
            self.name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._chunks.append(data[start:end])
            return
        self.url += data[start:end]
        if len(self.url) > LONGEST_URL:
            raise TooLargeError(f"the URL has more than {LONGEST_URL} characters")

    def _end(self) -> None:
        self.ended = True
