"""Why a request fails. Imports nothing heavy; `answers` gives each failure its status."""

from __future__ import annotations

from hidden_two_stream.errors import HiddenTwoStreamError

__all__ = [
    "FetchError",
    "MalformedError",
    "MediaTypeError",
    "RefusedUrlError",
    "SlowUploadError",
    "StoppingError",
    "TimeLimitError",
    "UnauthorizedError",
]


class MalformedError(HiddenTwoStreamError):
    """A request's parameters, form or JSON are wrong."""


class UnauthorizedError(HiddenTwoStreamError):
    """A request brings no right API key."""


class RefusedUrlError(HiddenTwoStreamError):
    """A URL must not be downloaded."""


class SlowUploadError(HiddenTwoStreamError):
    """An upload or download takes too long."""


class MediaTypeError(HiddenTwoStreamError):
    """A request's body is of a kind that the service does not take."""


class FetchError(HiddenTwoStreamError):
    """A URL cannot be downloaded."""


class StoppingError(HiddenTwoStreamError):
    """The service ends, or has not started yet."""


class TimeLimitError(HiddenTwoStreamError):
    """An answer takes too long."""
