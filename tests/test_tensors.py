"""Safetensors files: tensors that were read don't change, whatever happens to the file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from hidden_two_stream import tensor_files as module
from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.tensor_files import MAX_HEADER_BYTES, read_metadata
from hidden_two_stream.tensors import (
    mismatches,
    not_finite,
    read_tensors,
    write_tensors,
)


@pytest.mark.parametrize("length", range(0, 64, 8))
def test_tensors_are_aligned_copies(tmp_path: Path, length: int) -> None:
    """They start at multiples of 64 bytes, as torch's own tensors do, whatever the length of the header."""
    path = tmp_path / "one.safetensors"
    wanted = {"a": torch.randn(3, 2048), "b": torch.randn(40)}
    write_tensors(path, wanted, {"text": "x" * length})
    found, metadata = read_tensors(path)
    assert metadata == {"text": "x" * length}
    path.write_bytes(b"\0" * path.stat().st_size)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 64 == 0


def numbered(path: Path, number: int) -> None:
    """Write a file whose values, header and size depend on `number`."""
    write_tensors(path, {"a": torch.full((5000 + number % 7,), float(number))}, {"number": "1" * number})


def test_a_file_that_is_replaced_all_the_time_is_read_as_one_version(tmp_path: Path) -> None:
    path, stop = tmp_path / "state.safetensors", threading.Event()
    numbered(path, 1)

    def replace() -> None:
        number = 1
        while not stop.wait(0.002):
            number = number % 50 + 1
            numbered(path, number)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(300):
            found, metadata = read_tensors(path)
            number = len(metadata["number"])
            assert found["a"].tolist() == [float(number)] * (5000 + number % 7)
            assert set(read_metadata(path)["number"]) == {"1"}
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_that_is_replaced_during_reading_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    path, newer, original = tmp_path / "a.safetensors", tmp_path / "b.safetensors", module.safe_open
    numbered(path, 3)
    numbered(newer, 4)

    def opened(*arguments: Any, **options: Any) -> Any:
        file = original(*arguments, **options)
        if newer.exists():
            os.replace(newer, path)
            if fails:
                raise RuntimeError("size <3> is smaller than the required mapping size <4>")
        return file

    monkeypatch.setattr(module, "safe_open", opened)
    found, metadata = read_tensors(path)
    assert (found["a"][0], metadata) == (4, {"number": "1111"})


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    for read in (read_tensors, read_metadata):
        with pytest.raises(CheckpointError, match=r"a\.safetensors.*No such file"):
            read(path)
    numbered(path, 3)

    def refused(*_: Any, **__: Any) -> Any:
        raise RuntimeError("smaller than the required mapping")

    def replaced(*_: Any, **__: Any) -> Any:
        numbered(path, 3)
        raise RuntimeError("smaller than the required mapping")

    monkeypatch.setattr(module, "safe_open", refused)
    with pytest.raises(CheckpointError, match="smaller than the required mapping"):
        read_tensors(path)
    monkeypatch.setattr(module, "safe_open", replaced)
    with pytest.raises(CheckpointError, match="replaced faster than it can be read"):
        read_tensors(path)


def headed(path: Path, size: int, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(size.to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ('{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', b"1234"),
        ('{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}', b"1234"),
        ('{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}', b""),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}', b"1234"),
        ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"1234"),
        ('{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}', b"1234"),
        ('{"a": 3}', b""),
        ("[" * 50_000, b""),
        ('{"__metadata__": {"a": 3}}', b""),
    ],
)
def test_headers_that_lie(tmp_path: Path, header: str, data: bytes) -> None:
    path = headed(tmp_path / "a.safetensors", len(header), header.encode(), data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors' is not a complete safetensors file"):
        read_tensors(path)


@pytest.mark.parametrize("claimed", [2**40, 2**63 - 1, 2**64 - 1])
def test_a_header_that_claims_to_be_longer_than_its_file(tmp_path: Path, claimed: int) -> None:
    path = headed(tmp_path / "a.safetensors", claimed, b"{}")
    for read in (read_tensors, read_metadata):
        with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
            read(path)


def test_a_huge_header_is_not_parsed(tmp_path: Path) -> None:
    """The library would take up to 100 MB of JSON, and many times that in memory."""
    header = b'{"__metadata__": {"a": "' + b"x" * MAX_HEADER_BYTES + b'"}}'
    path = headed(tmp_path / "a.safetensors", len(header), header)
    for read in (read_tensors, read_metadata):
        with pytest.raises(
            CheckpointError, match="its header has 16,777,243 bytes; expected at most 16,777,216"
        ):
            read(path)


def test_mismatches_name_kinds_of_numbers() -> None:
    expected = {"a": torch.zeros(2), "n": torch.tensor(1)}
    assert mismatches(expected, {"a": torch.zeros(2).half(), "n": torch.tensor(1, dtype=torch.int32)}) == []
    assert mismatches(expected, {"a": torch.zeros(2, dtype=torch.int64), "n": torch.tensor(1.0)}) == [
        "a has the type int64, not float32",
        "n has the type float32, not int64",
    ]
    assert mismatches({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.complex64)}) == [
        "a has the type complex64, not float32"
    ]


def test_what_is_not_finite_is_named_in_order() -> None:
    tensors = {
        "z": torch.tensor([1.0, float("nan")]),
        "n": torch.tensor([2**62]),
        "b": torch.tensor(float("-inf")).bfloat16(),
        "ok": torch.tensor([3e38]),
        "c": torch.tensor([complex(float("inf"), 0)]),
    }
    assert not_finite(tensors) == ["z", "b", "c"]
