"""The package's own errors: one base class, and a child for each kind of trouble a user can mend.

Every message says what was wrong (with the value), what was expected, and what to do.
The command line prints it as one line and exits with the class's `exit_code`.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "DataError",
    "HiddenTwoStreamError",
    "MissingDependencyError",
    "OutputError",
    "TrainingError",
    "UsageError",
    "VideoError",
]


class HiddenTwoStreamError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = 1


class UsageError(HiddenTwoStreamError):
    """An argument is wrong: a path that does not exist, an unknown name, a value out of range."""

    exit_code = 2


class VideoError(HiddenTwoStreamError):
    """A video cannot be read. `source` names it, `reason` says why in a few words."""

    def __init__(self, source: object, reason: str) -> None:
        super().__init__(f"cannot read video {str(source)!r}: {reason}")
        self.source = str(source)
        self.reason = reason

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        # Worker processes pickle exceptions; the default would pass the message as `source`.
        return (type(self), (self.source, self.reason))


class DataError(HiddenTwoStreamError):
    """A data set cannot be used: no videos, one class only, a broken listing."""


class CheckpointError(HiddenTwoStreamError):
    """A run folder or checkpoint is missing, damaged, or of another format version."""


class TrainingError(HiddenTwoStreamError):
    """Training cannot go on, for example because the loss is not finite."""


class MissingDependencyError(HiddenTwoStreamError):
    """An optional library is needed for this and is not installed."""


class OutputError(HiddenTwoStreamError):
    """A result cannot be written: the folder is not writable, or the disk is full."""
