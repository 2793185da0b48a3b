"""Middlebury `.flo` files, the usual container of true flow.

Layout, all little endian: float32 202021.25 (which reads "PIEH"), int32 width, int32 height, then float32
u, v of each pixel, row by row. Reference: Baker et al., A Database and Evaluation Methodology for Optical
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
"""Largest width or height that a .flo file may state; above it the header is taken to be damaged."""

_HEADER = struct.Struct("<4sii")
_MAGIC = struct.pack("<f", 202021.25)


def read_flo(path: str | os.PathLike[str]) -> FloatArray:
    """Read a flow file.

    Args:
        path: a Middlebury .flo file.

    Returns:
        (2, h, w) float32: u (right positive), v (down positive), px. Unknown flow comes as it is stored,
        by custom as a value above 1e9.

    Raises:
        UsageError: there is no such file, or it cannot be opened.
        DataError: it is not a .flo file, it is truncated or too long, or it states an absurd size.
    """
    source = Path(path)
    try:
        with source.open("rb") as stream:
            header = stream.read(_HEADER.size)
            width, height = _parse_header(header, source)
            expected = 8 * width * height
            # Compared before reading: a damaged header must not make us ask for gigabytes.
            found = os.fstat(stream.fileno()).st_size - _HEADER.size
            if found != expected:
                kind = "truncated" if found < expected else "too long"
                raise DataError(
                    f"flow file {str(source)!r} is {kind}: {found} bytes of flow, expected {expected} "
                    f"for {width} x {height} px; copy or make it again"
                )
            values = np.fromfile(stream, dtype="<f4", count=2 * width * height)
    except FileNotFoundError:
        raise UsageError(f"no flow file {str(source)!r}; expected an existing file; check the path") from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot open flow file {str(source)!r}: {reason}; expected a readable file; check its rights"
        ) from error
    pixels = values.reshape(height, width, 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _parse_header(header: bytes, source: Path) -> tuple[int, int]:
    """(width, height) of a .flo header, or a DataError that names the file."""
    if header[:4] != _MAGIC[: len(header)] or not header:
        raise DataError(
            f"{str(source)!r} starts with {header[:4]!r}; expected {_MAGIC!r} "
            "as in every Middlebury .flo file; give a .flo file"
        )
    if len(header) < _HEADER.size:
        raise DataError(
            f"flow file {str(source)!r} is truncated: {len(header)} bytes, expected a header "
            f"of {_HEADER.size}; copy or make it again"
        )
    _, width, height = _HEADER.unpack(header)
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise DataError(
            f"flow file {str(source)!r} states {width} x {height} px; expected 1 to {MAX_SIDE_PX} a side; "
            "the header is damaged: copy or make it again"
        )
    return width, height


def write_flo(path: str | os.PathLike[str], flow: npt.NDArray[np.floating]) -> None:
    """Write a flow file. It appears whole or not at all; an existing file is replaced.

    Args:
        path: where to; its folder must exist.
        flow: (2, h, w) of any floating type, px; stored as float32, values that are not finite as they are.

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
