"""Printing for people: no control characters of others, and no failure of stderr ends a command.

Labels, file names and messages of libraries come from outside. In a terminal, control characters in them
could move the cursor or rewrite what was printed before. `printable` writes them as escapes.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from typing import Any, TextIO

__all__ = ["json_text", "one_line", "print_error_line", "printable", "silence"]

_CONTROLS = re.compile(
    # C0 without tab and newline, DEL and C1; line separators; marks that change the direction of text;
    # lone surrogates, which stand for bytes of file names that are not text.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _escape(found: re.Match[str]) -> str:
    r"""Return the escape of a matched character, such as `\x1b` or `\udcff`."""
    return found[0].encode("unicode_escape").decode("ascii")


def printable(text: str, encoding: str | None = None) -> str:
    r"""Return `text` with control characters as escapes such as `\x1b`; tabs and line breaks stay.

    Args:
        text: any text, also with bytes of file names that are not text (lone surrogates).
        encoding: of the stream that is to print it; characters that it lacks become escapes, too.
    """
    safe = _CONTROLS.sub(_escape, text)
    if encoding is None:
        return safe
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: str) -> str:
    r"""Return `text` in one line: with line breaks and tabs as `\n` and `\t`, and as by `printable`."""
    return re.sub(r"[\n\t]", _escape, printable(text))


def json_text(data: Any, encoding: str | None = None, *, indent: int | None = 2) -> str:
    r"""Return JSON that every stream and terminal takes, and that a parser reads back unchanged.

    It is indented, or one line if `indent` is None.

    Control characters and lone surrogates are written as `\u001b`. If the encoding of the stream is not
    UTF-8, so are all characters outside ASCII.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    is_utf8 = encoding is None or encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    text = json.dumps(data, indent=indent, ensure_ascii=not is_utf8, allow_nan=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_error_line(text: str) -> None:
    """Print one line to stderr. If stderr is closed or full, nothing happens: the exit code tells."""
    stream = sys.stderr
    if stream is None:  # closed by the caller; print() would take stdout instead
        return
    try:
        # At once, so that the lines of several processes don't mix.
        stream.write(printable(text, getattr(stream, "encoding", None)) + "\n")
        stream.flush()
    except (OSError, ValueError):  # full, a broken pipe, or closed
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let a stream that cannot be written to discard its text, which Python would write again at the end."""
    with suppress(OSError, ValueError, AttributeError):
        target = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(target, stream.fileno())
        finally:
            os.close(target)
        stream.flush()
