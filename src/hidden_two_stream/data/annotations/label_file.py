"""A label file of unknown origin: read once, with limits, as text, table, JSON or XML."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.text_files import read_text
from hidden_two_stream.errors import DataError
from hidden_two_stream.files import parse_json

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "LabelFile",
    "XmlElement",
    "csv_rows",
    "csv_values",
    "expect",
    "frame_rate",
    "named",
    "number",
    "whole_number",
]

MAX_BYTES = 64 << 20
"""Most bytes of a label file."""

MAX_DEPTH = 100
"""Most levels of elements in an XML file."""


class LabelFile:
    """A file that is read when its content is asked for, and only once.

    Args:
        path: the file; a folder for formats with several files.

    Every property raises `DataError` if the file can't be read, is too large, or isn't what is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        """Name without suffix."""
        return self.path.stem

    @cached_property
    def content(self) -> bytes:
        """All bytes of the file."""
        self.check_size()
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {str(self.path)!r}: {error.strerror}") from error

    @cached_property
    def text(self) -> str:
        """The text, with line breaks as they are."""
        self.check_size()
        return read_text(self.path, "a label file")

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without line breaks."""
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    @cached_property
    def json(self) -> Any:
        """The data of a JSON file."""
        try:
            return parse_json(self.text)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self.path} is not JSON: {error.msg} in line {error.lineno}; export it again"
            ) from error
        except ValueError as error:
            raise DataError(f"{self.path} cannot be read as JSON: {error}") from error

    @cached_property
    def xml(self) -> XmlElement:
        """The root element of an XML file."""
        return _parse_xml(self)

    def check_size(self) -> None:
        """Check that this is a file, and not too large.

        Raises:
            DataError: it isn't.
        """
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise DataError(f"cannot read {str(self.path)!r}: {error.strerror}") from error
        if not self.path.is_file():
            raise DataError(f"{str(self.path)!r} is not a file; expected a label file")
        if size > MAX_BYTES:
            raise DataError(
                f"{self.path} has {size:,} bytes; expected a label file of at most {MAX_BYTES:,}: split it"
            )


class XmlElement(ElementTree.Element):
    """An element with the number of its line.

    Attributes:
        line: from 1.
    """

    line = 0

    def need(self, file: LabelFile, name: str) -> str:
        """Return an attribute.

        Raises:
            DataError: it is missing.
        """
        value = self.get(name)
        if value is None:
            raise DataError(f"{file}, line {self.line}: <{self.tag}> has no attribute {name}")
        return value


def _parse_xml(file: LabelFile) -> XmlElement:
    """Parse XML without document types: they can name other files, and grow without bound."""
    content = file.content
    parser = expat.ParserCreate()
    depth = 0

    def make(tag: str, attributes: dict[str, str]) -> XmlElement:
        element = XmlElement(tag, attributes)
        element.line = parser.CurrentLineNumber
        return element

    builder = ElementTree.TreeBuilder(element_factory=make)

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(
                f"{file}, line {parser.CurrentLineNumber}: elements are nested deeper than {MAX_DEPTH} levels"
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise DataError(
            f"{file}, line {parser.CurrentLineNumber}: the file declares a document type (DOCTYPE), which "
            "label files don't need and hostile files misuse; remove it"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
        root = builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{file} is not valid XML: {error}; export it again") from error
    assert isinstance(root, XmlElement)
    return root


def csv_rows(
    file: LabelFile, lines: Sequence[str], first: int = 1, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Yield the values of each row of CSV, with the number of its last line.

    Args:
        file: where the lines are from, for messages.
        lines: the lines.
        first: number of the first of them in the file.
        delimiter: what separates values.

    Raises:
        DataError: a quote is not closed, or a value is too long.
    """
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            yield reader.line_num + first - 1, values
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num + first - 1} is not CSV: {error}") from error


def csv_values(file: LabelFile, number: int, delimiter: str = ",") -> list[str]:
    """Return the values of one line of CSV, whose number counts from 1; [""] if it is empty or missing.

    Raises:
        DataError: as `csv_rows`.
    """
    lines = file.lines[number - 1 : number]
    return next((values for _, values in csv_rows(file, lines, number, delimiter)), [""])


def expect(value: Any, kind: type, file: object, where: str) -> Any:
    """Return `value` if it is an object (`dict`), a list, a text...

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, kind):
        return value
    names: dict[type, str] = {dict: "an object {…}", list: "a list […]", str: "a text"}
    raise DataError(f"{file}: {where} is {shown(value)}; expected {names.get(kind, kind.__name__)}")


def named(data: Any, key: str, kind: type, file: object, where: str) -> Any:
    """Return `data[key]`.

    Raises:
        DataError: it is missing, or not a `kind`.
    """
    if key not in expect(data, dict, file, where):
        raise DataError(f"{file}: {where} has no {shown(key)}; expected one")
    return expect(data[key], kind, file, f"{key!r} of {where}")


def number(value: Any, file: object, where: str, what: str = "time") -> float:
    """Return a number that the file gives as a number or as text.

    Raises:
        DataError: it is neither, or not finite.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{file}, {where}: the {what} is {shown(value)}; expected a number")
    return found


def frame_rate(value: Any, file: object, where: str) -> float | None:
    """Return frames per second that a file gives; None for "", "NA" or 0, which mean that it is unknown.

    Raises:
        DataError: it is no number, or below 0.
    """
    if value in (None, "", "NA"):
        return None
    found = number(value, file, where, "frame rate")
    if found < 0:
        raise DataError(f"{file}, {where}: the frame rate is {shown(value)}; expected a number above 0")
    return found or None


def whole_number(value: Any, file: object, where: str, what: str = "frame number") -> int:
    """Return a whole number that the file gives as a number or as text.

    Raises:
        DataError: it is another value.
    """
    found = number(value, file, where, what)
    if found != int(found):
        raise DataError(f"{file}, {where}: the {what} is {shown(value)}; expected a whole number")
    return int(found)
