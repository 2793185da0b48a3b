"""A CSV with a row per frame: an index without name, then columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hidden_two_stream.data.annotations.label_file import LabelFile, csv_rows, csv_values
from hidden_two_stream.data.annotations.quoting import shown
from hidden_two_stream.data.samples import clean_text
from hidden_two_stream.errors import DataError

__all__ = ["FrameTable", "open_frame_table"]


@dataclass(frozen=True)
class FrameTable:
    """The columns and rows of such a file.

    Attributes:
        file: the file.
        names: of the columns after the index.
    """

    file: LabelFile
    names: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line and the values of each frame, without its number.

        Raises:
            DataError: a row has too many or too few values, or the frames aren't numbered from 0 in order.
        """
        count = 0
        for line, cells in csv_rows(self.file, self.file.lines[1:], first=2):
            if not any(cells):
                continue
            if len(cells) != len(self.names) + 1:
                raise DataError(
                    f"{self.file}, line {line}: {len(cells)} values for {len(self.names) + 1} columns; "
                    "expected one row per frame, separated by commas"
                )
            if cells[0] not in (str(count), f"{count}.0"):
                raise DataError(
                    f"{self.file}, line {line}: the frame number is {shown(cells[0])}; expected {count}: "
                    "one row per frame, from 0, in order"
                )
            yield line, [cell.strip() for cell in cells[1:]]
            count += 1


def open_frame_table(file: LabelFile) -> FrameTable:
    """Read the names of the columns.

    Raises:
        DataError: the first one has a name, another has none, or two have the same.
    """
    columns = tuple(clean_text(name.strip()) for name in csv_values(file, 1))
    if columns[0]:
        raise DataError(
            f"{file}: the first column is {shown(columns[0])}; expected an index without a name, then the "
            "behaviors, separated by commas"
        )
    if "" in columns[1:] or len(set(columns)) < len(columns):
        raise DataError(f"{file}: a column has no name or that of another; the first line is {list(columns)}")
    return FrameTable(file, columns[1:])
