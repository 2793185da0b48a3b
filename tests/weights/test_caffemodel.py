"""Caffemodels of all formats give their arrays back; other files are rejected by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.weights.caffemodel import open_caffemodel

Write = Callable[..., Path]
LAYERS = {
    "data": [],
    "conv1": [np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3) / 7, np.float32([1.5, -2])],
    "größe": [np.float32([[0.1, 0.2, 0.3]])],
    "scalar": [np.float32(20).reshape(())],
}


def arrays(path: Path) -> dict[str, list[np.ndarray]]:
    with open_caffemodel(path) as layers:
        return {layer.name: [blob.read() for blob in layer.blobs] for layer in layers}


def nested(tag: int, content: bytes) -> bytes:
    """Return a field of up to 16383 bytes, with its length in two bytes."""
    length = bytes([len(content) % 128 + 128, len(content) // 128])
    return tag.to_bytes(2 if tag > 255 else 1) + length + content


def rejection(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        arrays(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    return message


@pytest.mark.parametrize("form", ["new", "unpacked", "doubles", "old"])
def test_arrays_are_read_back(write_caffemodel: Write, form: str) -> None:
    found = arrays(write_caffemodel(LAYERS, form))
    assert list(found) == list(LAYERS)
    for name, expected in LAYERS.items():
        assert len(found[name]) == len(expected)
        for array, wanted in zip(found[name], expected, strict=True):
            old = (1,) * (4 - wanted.ndim) + wanted.shape
            assert array.dtype == np.float32
            assert array.shape == (old if form == "old" else wanted.shape)
            np.testing.assert_array_equal(array.ravel(), wanted.ravel())


def test_bytes_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.caffemodel"
    shape = bytes.fromhex("3a030a0102")
    packed = bytes.fromhex("2a080000803f000000c0")
    path.write_bytes(nested(0xA206, b"\x0a\x01a" + nested(0x3A, shape + packed)))
    np.testing.assert_array_equal(arrays(path)["a"][0], np.float32([1, -2]))


def test_numbers_in_several_runs_are_one_array(tmp_path: Path) -> None:
    path = tmp_path / "runs.caffemodel"
    # Packed 1, 2; single 3, 4; then num = 1, which a shape overrides; single 5; packed 6.
    runs = "2a080000803f000000402d000040402d0000804008012d0000a0402a040000c040"
    blob = bytes.fromhex("3a030a0106" + runs)
    path.write_bytes(nested(0xA206, b"\x0a\x01a" + nested(0x3A, blob)))
    np.testing.assert_array_equal(arrays(path)["a"][0], np.float32([1, 2, 3, 4, 5, 6]))


def test_arrays_can_be_read_in_any_order(write_caffemodel: Write) -> None:
    with open_caffemodel(write_caffemodel(LAYERS)) as layers:
        shapes = {layer.name: [blob.shape for blob in layer.blobs] for layer in layers}
        assert layers[1].blobs[1].read().tolist() == [1.5, -2]  # not in the file's order
        assert layers[1].blobs[0].read()[1, 1, 2, 2] == np.float32(5)
    assert shapes == {"data": [], "conv1": [(2, 2, 3, 3), (2,)], "größe": [(1, 3)], "scalar": [()]}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 708012345\n", "git-lfs pointer"),
        (b'name: "hidden_deploy"\ninput: "data"\nlayer {\n  name: "conv1"\n}\n', "is text; a .prototxt"),
        (b"\n<!DOCTYPE html><html><head><title>Sign in</title>", "is text"),
        (b"<!DOCTYPE html><html><head><title>Sign in \xe4</title>", "is a web page"),
        (b"PK\x03\x04\x14\x00\x08\x08", "is a zip archive"),
        (b"\x1f\x8b\x08\x00\x00", "is a gzip archive"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "is damaged, or not a caffemodel: no field starts at byte 0"),
        (b"\x08\x90\x4e\x12\x04a.ca", "is damaged, or not a caffemodel: it starts like a solver state"),
    ],
)
def test_other_files_are_identified(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "some.caffemodel"
    path.write_bytes(content)
    assert what in rejection(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.caffemodel", tmp_path):
        with pytest.raises(UsageError, match="no file at"), open_caffemodel(path):
            pass


def test_a_file_cut_off_anywhere_is_rejected(write_caffemodel: Write) -> None:
    path = write_caffemodel(LAYERS)
    whole = path.read_bytes()
    kept, messages = [], []
    for length in range(2, len(whole)):
        path.write_bytes(whole[:length])
        try:
            kept.append(tuple(arrays(path)))
        except CheckpointError as error:
            messages.append(str(error))
    assert all("is cut off: it needs" in message for message in messages)
    assert len(messages) + len(kept) == len(whole) - 2
    # A cut between two layers leaves a valid file with fewer layers; the conversion reports missing ones.
    assert kept == [(), ("data",), ("data", "conv1"), ("data", "conv1", "größe")]


def test_the_message_of_a_cut_says_how_much_is_there(write_caffemodel: Write) -> None:
    path = write_caffemodel(LAYERS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert f"it needs {len(whole)} bytes or more and has {len(whole) - 1}" in rejection(path)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        ("3a030a01032a080000803f000000c0", "has 2 numbers, but the shape (3,)"),
        ("3a0c0a0a" + "ff" * 9 + "01" + "2a040000803f", "has 1 numbers, but the shape (-1,)"),
        ("3a030a01022a070000803f000000", "starts 7 bytes; expected an array of 4-byte numbers"),
        ("3a160a14" + ("ff" * 9 + "01") * 2 + "2a040000803f", "has 1 numbers, but the shape (-1, -1)"),
        ("3a030a0102", "has 0 numbers, but the shape (2,)"),
        ("3a0a0a01022a040000803f", "byte 10 starts a field of 10 bytes, but only 9 are left"),
        ("3a820301" + "00" * 385, "starts a shape of 386 bytes; expected at most 352"),
    ],
)
def test_damaged_arrays_are_rejected(tmp_path: Path, blob: str, reason: str) -> None:
    path = tmp_path / "damaged.caffemodel"
    body = bytes.fromhex(blob)
    another = bytes.fromhex("a20600") * 200
    path.write_bytes(nested(0xA206, b"\x0a\x01a" + nested(0x3A, body)) + another)
    message = rejection(path)
    assert "is damaged, or not a caffemodel" in message
    assert reason in message


def test_damage_is_never_a_traceback(write_caffemodel: Write) -> None:
    path = write_caffemodel(LAYERS)
    whole = path.read_bytes()
    chance = random.Random(0)
    rejected = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            arrays(path)
        except CheckpointError:
            rejected += 1
    assert rejected > 100
