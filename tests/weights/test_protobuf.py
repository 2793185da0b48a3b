"""The wire format on bytes written by hand, most of them examples of the protobuf documentation."""

from __future__ import annotations

from io import BytesIO

import pytest

from hidden_two_stream.weights.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    WireError,
    read_fields,
    read_varints,
    signed,
)


def fields(data: bytes) -> list[Field]:
    return list(read_fields(BytesIO(data), 0, len(data)))


def test_documented_varint() -> None:
    assert fields(bytes.fromhex("089601")) == [Field(1, VARINT, 1, 3, 150)]


def test_documented_string() -> None:
    assert fields(bytes.fromhex("120774657374696e67")) == [Field(2, BYTES, 2, 9)]


def test_documented_packed_numbers() -> None:
    data = bytes.fromhex("3206038e029ea705")
    (field,) = fields(data)
    assert (field.number, field.wire_type) == (6, BYTES)
    assert read_varints(BytesIO(data), field) == [3, 270, 86942]


def test_a_single_number_is_a_list_of_one() -> None:
    data = bytes.fromhex("089601")
    assert read_varints(BytesIO(data), fields(data)[0]) == [150]


def test_every_wire_type_is_skipped_by_its_length() -> None:
    data = bytes.fromhex("0d0000803f1100000000000000401a0361626320ac02a20601ff")
    assert fields(data) == [
        Field(1, FIXED32, 1, 5),
        Field(2, FIXED64, 6, 14),
        Field(3, BYTES, 16, 19),
        Field(4, VARINT, 20, 22, 300),
        Field(100, BYTES, 25, 26),
    ]


def test_an_empty_value() -> None:
    assert fields(bytes.fromhex("12000801")) == [Field(2, BYTES, 2, 2), Field(1, VARINT, 3, 4, 1)]


def test_negative_numbers_take_ten_bytes() -> None:
    (field,) = fields(bytes.fromhex("08" + "ff" * 9 + "01"))
    assert field.value == 2**64 - 1
    assert [signed(value) for value in (field.value, 2**63, 2**63 - 1, 7)] == [-1, -(2**63), 2**63 - 1, 7]


def test_only_the_given_bytes_are_read() -> None:
    data = bytes.fromhex("ffff0896011005ff")
    assert [field.value for field in read_fields(BytesIO(data), 2, 7)] == [150, 5]


def test_the_caller_may_seek_between_fields() -> None:
    file = BytesIO(bytes.fromhex("080110021803"))
    values = []
    for field in read_fields(file, 0, 6):
        file.seek(0)
        file.read()
        values.append(field.value)
    assert values == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "reason", "needed"),
    [
        ("1207746573", "byte 0 starts a field of 7 bytes, but only 3 are left", 9),
        ("08010d0000", "byte 2 starts a field of 4 bytes, but only 2 are left", 7),
        ("080180", "byte 2 starts a number without an end", 4),
        ("08ffff", "byte 1 starts a number without an end", 4),
        ("08" + "ff" * 11, "byte 1 starts a number without an end", 0),
        ("0b", "no field starts at byte 0 (tag 11)", 0),
        ("08010001", "no field starts at byte 2 (tag 0)", 0),
    ],
)
def test_invalid_messages_are_rejected(data: str, reason: str, needed: int) -> None:
    with pytest.raises(WireError) as caught:
        fields(bytes.fromhex(data))
    assert str(caught.value) == reason
    assert caught.value.needed == needed


def test_a_message_ends_where_its_parent_does() -> None:
    data = bytes.fromhex("1207" + "00" * 20)
    with pytest.raises(WireError, match="but only 3 are left"):
        list(read_fields(BytesIO(data), 0, 5))
