"""The package's own errors: a base class, and one class for each kind of problem that a user can fix.

Every message gives the wrong value, what was expected, and what to do. The command line prints the message
as one line and exits with the class's `exit_code`.
"""

from __future__ import annotations

import warnings

__all__ = [
    "CheckpointError",
    "DataError",
    "HiddenTwoStreamError",
    "MissingDependencyError",
    "OutputError",
    "StoreError",
    "Terminated",
    "TrainingError",
    "UsageError",
    "VideoError",
    "VideoWarning",
    "WorkerError",
    "unexpected",
    "warn_of_video",
]

_LONGEST_MESSAGE = 2000  # characters; a path alone may have 4096 bytes, but hardly does


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end, as Ctrl-C does, and what is in progress is cleaned up.

    Attributes:
        signal_number: the signal, such as `signal.SIGTERM`.
    """

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message)
        self.signal_number = signal_number


class HiddenTwoStreamError(Exception):
    """Base class of all errors that this package raises on purpose.

    The message is one line of bounded length, whatever a damaged file brings into it.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(_one_line(str(message)))


def _one_line(message: str) -> str:
    """Return a message without line breaks; of a very long one, the middle is left out and counted."""
    line = " ".join(message.splitlines())
    if len(line) <= _LONGEST_MESSAGE:
        return line
    half = _LONGEST_MESSAGE // 2 - 20
    return f"{line[:half]} … ({len(line) - 2 * half} characters) … {line[-half:]}"


class UsageError(HiddenTwoStreamError):
    """An argument is wrong: a path that does not exist, an unknown name, a value out of range."""

    exit_code = 2


class VideoError(HiddenTwoStreamError):
    """A video cannot be read.

    Attributes:
        source: name of the video.
        reason: why it cannot be read, in a few words.
    """

    def __init__(self, source: object, reason: str) -> None:
        super().__init__(f"cannot read video {str(source)!r}: {reason}")
        self.source = str(source)
        self.reason = reason

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        # Worker processes pickle exceptions; by default, the message would become `source`.
        return (type(self), (self.source, self.reason))


class StoreError(HiddenTwoStreamError):
    """A file in an object store or on a server cannot be read.

    Attributes:
        address: address of the file, or of the place that is listed.
        reason: why it cannot be read, in a few words.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot read {address!r}: {reason}; check the address, the network and your access")
        self.address = address
        self.reason = reason

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, str]]:
        return (type(self), (self.address, self.reason))  # as `VideoError`


class VideoWarning(UserWarning):
    """Something is wrong with a video that was read all the same, for example that it ended early.

    Calls whose result is an array or an iterator, such as `flow` and `windows`, issue it through Python's
    `warnings`. Results with an attribute `warnings`, such as `Prediction`, hold the reason there instead.
    """


def warn_of_video(source: object, reason: str) -> None:
    """Issue a `VideoWarning` that names the video, at the line that called the caller."""
    warnings.warn(f"{source}: {reason}", VideoWarning, stacklevel=3)


class DataError(HiddenTwoStreamError):
    """A dataset cannot be used: it has no videos, only one class, or a broken index."""


class CheckpointError(HiddenTwoStreamError):
    """A run folder or checkpoint is missing, damaged, or has another format version."""


class TrainingError(HiddenTwoStreamError):
    """Training cannot continue, for example because the loss is not finite."""


class MissingDependencyError(HiddenTwoStreamError):
    """An optional library that is needed is not installed."""


class OutputError(HiddenTwoStreamError):
    """A result cannot be written: the folder is not writable, or the disk is full."""


class WorkerError(HiddenTwoStreamError):
    """Worker processes cannot be started, or one of them died over a task that cannot be left out."""


def unexpected(error: Exception) -> str:
    """One line about an error that this package does not raise on purpose."""
    first_line = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or "allocate memory" in first_line or "out of memory" in first_line:
        return (
            f"not enough memory: {first_line or 'none is left'}; choose smaller frames, batches or --cache-mb"
        )
    if isinstance(error, OSError) and error.filename is not None:  # a name that is too long, a lost disk
        return _one_line(f"cannot use {str(error.filename)!r}: {error.strerror or error}; check the path")
    return f"unexpected {type(error).__name__}: {first_line}"
