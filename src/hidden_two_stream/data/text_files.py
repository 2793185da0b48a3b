"""Reads lists and CSV files in the forms that spreadsheets and other software write."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError

__all__ = ["Table", "open_table", "read_text"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx, .ods and .zip; .xls
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SHOWN = 80  # characters of a first line that a message quotes


def read_text(path: Path, kind: str = "text") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Args:
        path: the file.
        kind: what the file should be, for messages.

    Raises:
        DataError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if content.startswith(_SPREADSHEETS):
        raise DataError(
            f"{path} is not {kind} in UTF-8 but a spreadsheet or an archive; export it as CSV in UTF-8"
        )
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(
                f"{path} begins as {kind} in {encoding.upper()} does, but is not: {error.reason}; save the "
                "file as UTF-8"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not {kind} in UTF-8: line {line} holds the byte 0x{content[error.start]:02x}, as "
            "Latin-1 and other old encodings write it; save the file as UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"{path} is not {kind} in UTF-8: it holds zero bytes, as UTF-16 without a byte-order mark does; "
            "save the file as UTF-8"
        )
    return text


@dataclass(frozen=True)
class Table:
    """A CSV file: its columns, and its rows.

    Attributes:
        path: the file.
        columns: names of the columns, the known ones in lower case.
        delimiter: the character between two values.
        text: the text of the file, from its first line of columns on.
        first_line: number of that line, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    text: str
    first_line: int

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each row with the number of its last line; values are stripped, empty lines left out.

        Raises:
            DataError: a row has too many or too few values, or a quote is not closed.
        """
        reader = _reader(self.text, self.delimiter)
        try:
            next(reader)
            for values in reader:
                number = reader.line_num + self.first_line - 1
                if not any(value.strip() for value in values):
                    continue
                if len(values) != len(self.columns):
                    raise DataError(
                        f"{self.path}, line {number}: the number of values differs from the number of "
                        f"columns: {len(values)} and {len(self.columns)}, separated by "
                        f"{_DELIMITERS[self.delimiter]}"
                    )
                cells = zip(self.columns, (value.strip() for value in values), strict=True)
                row = [(name, value) for name, value in cells if name or value]
                if sum(not name for name, _ in row) > 1:  # one such column is the numbers of the rows
                    raise DataError(
                        f"{self.path}, line {number}: two columns without a name have values; name them in "
                        "the first line"
                    )
                yield number, dict(row)
        except csv.Error as error:
            raise DataError(f"{self.path} is not a CSV in UTF-8: {error}") from error


def open_table(path: Path, required: Collection[str], known: Collection[str] = ()) -> Table:
    """Read a CSV file with a line of column names first.

    Values may be separated by commas, semicolons, tabs or vertical bars. Capitals and spaces around the names
    of known columns don't matter.

    Args:
        path: the file.
        required: columns that it must have, in lower case.
        known: further columns with a meaning, in lower case.

    Raises:
        DataError: the file cannot be read, is no such table, lacks a column, or has two of the same name.
    """
    text = read_text(path, "a CSV")
    skipped = re.match(r"sep=.\r?\n|(?:[ \t]*\r?\n)+", text)  # Excel's hint, or empty lines
    first_line = 1 + (text.count("\n", 0, skipped.end()) if skipped else 0)
    text = text[skipped.end() :] if skipped else text
    meant = {*required, *known}
    headers = {mark: _header(path, text, mark, meant) for mark in _DELIMITERS}
    fitting = (mark for mark in _DELIMITERS if set(required) <= set(headers[mark]))
    delimiter = next(fitting, ",")
    columns = headers[delimiter]
    missing = sorted(set(required) - set(columns))
    if missing:
        first = (text.splitlines() or [""])[0][:_SHOWN]
        wanted = " and ".join(sorted(required, reverse=True))
        raise DataError(
            f"{path}: no column {missing} in the first line, {first!r}; the first line must name {wanted}, "
            "separated by commas"
        )
    named = [name for name in columns if name]  # spreadsheets add empty columns at the end
    if len(set(named)) < len(named):
        raise DataError(f"{path}: two columns have the same name; the first line is {list(columns)}")
    return Table(path, columns, delimiter, text, first_line)


def _header(path: Path, text: str, delimiter: str, known: Collection[str]) -> tuple[str, ...]:
    try:
        names = [clean_text(name.strip()) for name in next(_reader(text, delimiter), [])]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV in UTF-8: {error}") from error
    return tuple(name.lower() if name.lower() in known else name for name in names)


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
