"""Names that come from outside: of uploaded files, classes and projects."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from hidden_two_stream.errors import UsageError
from hidden_two_stream.files import folder_names
from hidden_two_stream.printing import one_line

__all__ = ["LONGEST_NAME", "clean_label", "disk_name", "file_title"]

LONGEST_NAME = 100
"""Characters of the name of an uploaded file, a class or a project."""


def file_title(name: str) -> str:
    """Return the name of an uploaded file for people: no folders, no control characters, not too long."""
    last = PurePosixPath(name.replace("\\", "/")).name
    text = one_line(unicodedata.normalize("NFC", last)).strip()
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME - 9]}…{text[-8:]}"
    return text or "video"


def disk_name(text: str, fallback: str) -> str:
    """Return a name of a file or folder that every file system takes, similar to a text."""
    plain = re.sub(r"_+", "_", folder_names([text])[text]).strip("._- ")[-60:]
    return folder_names([plain or fallback])[plain or fallback]


def clean_label(label: object, what: str) -> str:
    """Return the name of a class or project as it is kept.

    Raises:
        UsageError: it is no text, empty, too long, or holds control characters.
    """
    if not isinstance(label, str):
        raise UsageError(f"{what} is {label!r}; expected a name")
    text = " ".join(unicodedata.normalize("NFC", label).split())
    if not text:
        raise UsageError(f"{what} is empty; give it a name")
    if len(text) > LONGEST_NAME or one_line(text) != text:
        shown = one_line(text)[:40]
        raise UsageError(f"{what} is '{shown}'; expected at most {LONGEST_NAME} plain characters")
    return text
