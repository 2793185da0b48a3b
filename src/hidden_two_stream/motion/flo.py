"""Middlebury `.flo` files, the usual format for true flow.

Layout, little endian: float32 202021.25 (the bytes "PIEH"), int32 width, int32 height, then float32 u and v
of each pixel, row by row. Reference: Baker et al., A Database and Evaluation Methodology for Optical
Flow, IJCV 2011 (vision.middlebury.edu/flow).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import DataError, UsageError
from hidden_two_stream.files import atomic_write
from hidden_two_stream.types import FloatArray

__all__ = ["MAX_SIDE_PX", "read_flo", "write_flo"]

MAX_SIDE_PX = 99_999
"""Largest width or height that a .flo file may state; a larger one means a damaged header."""

_HEADER = struct.Struct("<4sii")
_MAGIC = struct.pack("<f", 202021.25)


def read_flo(path: str | os.PathLike[str]) -> FloatArray:
    """Read a flow file.

    Args:
        path: a Middlebury .flo file.

    Returns:
        (2, h, w) float32: u (right positive), v (down positive), px. Unknown flow keeps its stored value, by
        custom one above 1e9.

    Raises:
        UsageError: there is no such file, or it cannot be opened.
        DataError: it is not a .flo file, is truncated or too long, or states an impossible size.
    """
    source = Path(path)
    try:
        with source.open("rb") as stream:
            header = stream.read(_HEADER.size)
            width, height = _parse_header(header, source)
            expected = 8 * width * height
            # Checked before reading: a damaged header must not allocate gigabytes.
            found = os.fstat(stream.fileno()).st_size - _HEADER.size
            if found != expected:
                kind = "truncated" if found < expected else "too long"
                raise DataError(
                    f"flow file {str(source)!r} is {kind}: {found} bytes of flow, expected {expected} "
                    f"for {width} x {height} px; copy or create it again"
                )
            values = np.fromfile(stream, dtype="<f4", count=2 * width * height)
    except FileNotFoundError:
        raise UsageError(f"no flow file {str(source)!r}; expected an existing file; check the path") from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot open flow file {str(source)!r}: {reason}; expected a readable file; check permissions"
        ) from error
    pixels = values.reshape(height, width, 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _parse_header(header: bytes, source: Path) -> tuple[int, int]:
    """(width, height) of a .flo header; raises a DataError that names the file."""
    if header[:4] != _MAGIC[: len(header)] or not header:
        raise DataError(
            f"{str(source)!r} starts with {header[:4]!r}; expected {_MAGIC!r} "
            "as in every Middlebury .flo file; give a .flo file"
        )
    if len(header) < _HEADER.size:
        raise DataError(
            f"flow file {str(source)!r} is truncated: {len(header)} bytes, expected a header "
            f"of {_HEADER.size}; copy or create it again"
        )
    _, width, height = _HEADER.unpack(header)
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise DataError(
            f"flow file {str(source)!r} states {width} x {height} px; expected 1 to {MAX_SIDE_PX} a side; "
            "the header is damaged: copy or create it again"
        )
    return width, height


def write_flo(path: str | os.PathLike[str], flow: npt.NDArray[np.floating]) -> None:
    """Write a flow file, as an atomic write that replaces an existing file.

    Args:
        path: the file; its folder must exist.
        flow: (2, h, w) of any floating type, px. Stored as float32; values that are not finite stay.

    Raises:
        UsageError: `flow` has another shape or type.
        OutputError: the file cannot be written.
    """
    array = np.asarray(flow)
    if array.ndim != 3 or array.shape[0] != 2 or not np.issubdtype(array.dtype, np.floating):
        raise UsageError(
            f"got a flow of shape {array.shape} and type {array.dtype}; expected (2, h, w) floating point; "
            "write one flow per file"
        )
    _, height, width = array.shape
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise UsageError(
            f"got a flow of {width} x {height} px; expected 1 to {MAX_SIDE_PX} a side; resize it"
        )
    with atomic_write(path) as part, part.open("wb") as stream:
        stream.write(_HEADER.pack(_MAGIC, width, height))
        stream.write(array.transpose(1, 2, 0).astype("<f4").tobytes())
