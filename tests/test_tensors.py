"""Safetensors files: what is read stays as it was, whatever happens to the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hidden_two_stream.tensors import read_tensors, write_tensors


@pytest.mark.parametrize("length", range(0, 64, 8))
def test_tensors_are_copies_that_begin_where_memory_does(tmp_path: Path, length: int) -> None:
    """At multiples of 64 bytes, as tensors of torch's own do, whatever the length of the header."""
    path = tmp_path / "one.safetensors"
    wanted = {"a": torch.randn(3, 2048), "b": torch.randn(40)}
    write_tensors(path, wanted, {"text": "x" * length})
    found, metadata = read_tensors(path)
    assert metadata == {"text": "x" * length}
    path.write_bytes(b"\0" * path.stat().st_size)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 64 == 0
