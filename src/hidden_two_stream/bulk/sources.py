"""The videos of a bulk prediction: a list of them, and the part of it that one machine takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hidden_two_stream.data.text_files import open_table, read_text
from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.video.finding import is_url

__all__ = ["Shard", "read_list"]

_PATH = "path"


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the videos: every `count`-th, from the `number`-th on.

    Attributes:
        number: which part, from 1.
        count: number of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the part that a text such as "2/8" names.

        Raises:
            UsageError: it names none.
        """
        number, slash, count = text.partition("/")
        is_pair = slash and all(
            part.isascii() and part.isdecimal() and len(part) < 10 for part in (number, count)
        )
        if not is_pair or not 1 <= int(number) <= int(count):
            raise UsageError(f"the shard is {text!r}; expected I/N with 1 <= I <= N, for example 2/8")
        return cls(int(number), int(count))

    def of(self, sources: Sequence[str]) -> list[str]:
        """Return the part of the videos; all parts together are all videos, each once."""
        return list(sources[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def read_list(file: Path) -> list[str]:
    """Return the videos that a file lists: one per line, or in a .csv the column `path`.

    Paths are relative to the folder of the list; addresses (scheme://…) stay as they are. Whether there is
    something at a path is found out when it is read.

    Raises:
        UsageError: there is no such file.
        DataError: it is no list, or names no video.
    """
    if not file.is_file():
        raise UsageError(f"no list at {str(file)!r}; give a text file with one video per line, or a .csv")
    if file.suffix.lower() == ".csv":
        named = [row.get(_PATH, "") for _, row in open_table(file, [_PATH]).rows()]
    else:
        named = [line.strip() for line in read_text(file, "a list of videos").splitlines()]
    folder = os.fspath(file.parent)
    found = [name if is_url(name) else os.path.join(folder, name) for name in named if name]
    if not found:
        raise DataError(
            f"{str(file)!r} names no video; expected one per line, or a .csv with the column path"
        )
    return found if folder != "." else [name.removeprefix("./") for name in found]
