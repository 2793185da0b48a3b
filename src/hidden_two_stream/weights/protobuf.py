"""Finds the fields of protobuf messages in a file by seeking, without a schema.

Source: the wire format in the protobuf documentation. A message is a sequence of fields. Each field starts
with a tag, a varint of (field number << 3 | wire type). The wire type tells the length of the value, so a
reader can skip unknown fields. This module does not read large values: they are arrays of numbers, which the
caller reads straight into place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase

__all__ = [
    "BYTES",
    "FIXED32",
    "FIXED64",
    "VARINT",
    "Field",
    "WireError",
    "read_fields",
    "read_varints",
    "signed",
]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types. Caffe's files do not use the deprecated types 3 and 4 (groups)."""

_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10  # bytes


class WireError(Exception):
    """Bytes that are not a protobuf message; the text gives the byte of the file and the reason.

    Attributes:
        needed: length that the file needs for the faulty field, bytes; 0 if the length is not the fault.
    """

    def __init__(self, reason: str, needed: int = 0) -> None:
        super().__init__(reason)
        self.needed = needed


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        number: field number of the schema.
        wire_type: one of VARINT, FIXED64, BYTES, FIXED32.
        start: position of the value in the file, behind tag and length.
        end: position behind the value.
        value: value of a VARINT, 0 … 2⁶⁴ − 1; 0 for other wire types.
    """

    number: int
    wire_type: int
    start: int
    end: int
    value: int = 0


def read_fields(file: BufferedIOBase, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in the bytes `start` to `end` of `file`, in the order of the file.

    The caller may seek and read between two fields.

    Raises:
        WireError: the bytes are not a message, or a field extends beyond `end`.
    """
    position = start
    while position < end:
        file.seek(position)
        head = file.read(min(2 * _LONGEST_VARINT, end - position))
        tag, used = _varint(head, 0, position)
        number, wire_type = tag >> 3, tag & 7
        value = size = 0
        if wire_type == VARINT:
            value, behind = _varint(head, used, position)
            size = behind - used
        elif wire_type == BYTES:
            size, used = _varint(head, used, position)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        if number == 0 or (wire_type != BYTES and size == 0):
            raise WireError(f"no field starts at byte {position} (tag {tag})")
        field = Field(number, wire_type, position + used, position + used + size, value)
        if field.end > end:
            left = f"but only {max(0, end - field.start)} are left"
            raise WireError(f"byte {position} starts a field of {size} bytes, {left}", needed=field.end)
        yield field
        position = field.end


def read_varints(file: BufferedIOBase, field: Field) -> list[int]:
    """Return the numbers of a repeated integer field, packed (BYTES) or single (VARINT)."""
    if field.wire_type == VARINT:
        return [field.value]
    file.seek(field.start)
    data = file.read(field.end - field.start)
    values = []
    index = 0
    while index < len(data):
        value, index = _varint(data, index, field.start)
        values.append(value)
    return values


def signed(value: int) -> int:
    """Return a varint as int64, by two's complement."""
    return value - 2**64 if value >= 2**63 else value


def _varint(data: bytes, index: int, position: int) -> tuple[int, int]:
    """Return the varint at `data[index]` and the index behind it; `position` of `data` is for the error."""
    value = 0
    digits = data[index : index + _LONGEST_VARINT]
    for shift, byte in enumerate(digits):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & (2**64 - 1), index + shift + 1
    needed = position + len(data) + 1 if len(digits) < _LONGEST_VARINT else 0
    raise WireError(f"byte {position + index} starts a number without an end", needed)
