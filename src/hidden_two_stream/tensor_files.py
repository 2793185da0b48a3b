"""Reads safetensors files in one version, and their descriptions without importing PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from hidden_two_stream.errors import CheckpointError

__all__ = ["MAX_HEADER_BYTES", "metadata_of", "read_file", "read_metadata"]

MAX_HEADER_BYTES = 16 << 20
"""Largest header of a safetensors file that is read; that of the paper's networks has 30 kB."""

T = TypeVar("T")

_MAX_ATTEMPTS = 20


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file; its tensors are not read.

    Raises:
        CheckpointError: the file is missing or damaged, or is not a safetensors file.
    """
    return read_file(path, metadata_of, framework="numpy")


def metadata_of(file: Any) -> dict[str, str]:
    """Metadata of a file that `safe_open` has opened."""
    return dict(file.metadata() or {})


def read_file(path: Path, read: Callable[[Any], T], framework: str = "pt") -> T:
    """Return `read(file)` for a single version of a file that another process may replace meanwhile.

    `safe_open` opens the file twice by its name, for the header and for the tensors, so it can get two
    versions of the file. A training run replaces its files in this way.

    Args:
        path: the file.
        read: gets what `safe_open` returns.
        framework: whose tensors it gives: "pt" or "numpy".

    Raises:
        CheckpointError: as `read_metadata`.
    """
    for _ in range(_MAX_ATTEMPTS):
        try:
            before = _version(path)
            try:
                _require_small_header(path)
                with safe_open(path, framework=framework) as file:
                    found = read(file)
            except (SafetensorError, RuntimeError, MemoryError, TypeError, ValueError) as error:
                if _version(path) == before:
                    raise _damaged(path, error) from error
            else:
                if _version(path) == before:
                    return found
        except OSError as error:
            raise _damaged(path, error) from error
    raise CheckpointError(f"{str(path)!r} is replaced faster than it can be read; try again")


def _require_small_header(path: Path) -> None:
    """Raise a ValueError about a header that would take far more memory than any description needs."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if MAX_HEADER_BYTES < size <= path.stat().st_size:  # a larger number is no header: the reader says so
        raise ValueError(f"its header has {size:,} bytes; expected at most {MAX_HEADER_BYTES:,}")


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{str(path)!r} is not a complete safetensors file: {error}")
