"""The answers to requests that failed: which failure has which status, and what its answer says."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from hidden_two_stream.apps.jobs import QueueFullError
from hidden_two_stream.apps.service.failures import (
    FetchError,
    MalformedError,
    MediaTypeError,
    RefusedUrlError,
    SlowUploadError,
    StoppingError,
    TimeLimitError,
    UnauthorizedError,
)
from hidden_two_stream.apps.uploads import TooLargeError
from hidden_two_stream.errors import (
    HiddenTwoStreamError,
    OutputError,
    UsageError,
    VideoError,
    WorkerError,
    unexpected,
)

__all__ = ["RETRY_SECONDS", "STATUS", "error_answer"]

RETRY_SECONDS = 1
"""When a client may ask again, s, see the header Retry-After."""

STATUS: Mapping[type[HiddenTwoStreamError], int] = {
    MalformedError: 400,
    UsageError: 400,
    UnauthorizedError: 401,
    RefusedUrlError: 403,
    SlowUploadError: 408,
    TooLargeError: 413,
    MediaTypeError: 415,
    VideoError: 422,
    QueueFullError: 429,
    FetchError: 502,
    StoppingError: 503,
    WorkerError: 503,
    TimeLimitError: 504,
    OutputError: 507,
    HiddenTwoStreamError: 500,
}
"""Error → HTTP status: that of the first class that fits."""

_RETRIED = (429, 503)


def error_answer(error: BaseException) -> Response:
    """Return the answer to a request that failed: {"error": the message}."""
    if not isinstance(error, HiddenTwoStreamError):
        reason = unexpected(error) if isinstance(error, Exception) else HTTPStatus(500).phrase
        return JSONResponse({"error": reason}, 500)
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    headers = {}
    if status in _RETRIED:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": " ".join(str(error).split())}, status, headers)
