"""Packed videos that prove unreadable while they are trained on: named, listed, and training goes on.

The index of shards says how long each video is, so training begins without decoding all of them, and damage
shows only when a video is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hidden_two_stream.checkpoint import UNREADABLE_FILE
from hidden_two_stream.errors import VideoError
from hidden_two_stream.progress import note
from hidden_two_stream.video.shards.addresses import is_packed

__all__ = ["left_out_reporter", "require_packed"]


def left_out_reporter(folder: Path) -> Callable[[VideoError], None]:
    """Return a function that names an unreadable video on stderr and lists it in a run's `unreadable.txt`.

    Each video is named once. The list is one for a person: if it cannot be written, training goes on.

    Args:
        folder: the run folder.
    """
    named: set[str] = set()
    file = folder / UNREADABLE_FILE

    def report(error: VideoError) -> None:
        if error.source in named:
            return
        named.add(error.source)
        line = f"{error.source}: {error.reason}"
        try:
            if line in (file.read_text(encoding="utf-8").splitlines() if file.exists() else ()):
                return  # an earlier stage has met it
            note(f"unreadable: {line}; other videos of its class take its place")
            with file.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
                lines.write(f"{line}\n")
        except (OSError, UnicodeError) as failure:
            note(f"cannot list it in {str(file)!r}: {failure}")

    return report


def require_packed(error: VideoError) -> None:
    """Raise an error unless it is about a packed video: other videos were decoded before training."""
    if not is_packed(error.source):
        raise error
