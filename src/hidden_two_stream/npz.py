"""Reads .npz files of unknown origin: the sizes that they declare are checked before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import DataError

__all__ = ["LARGEST_BYTES", "read_npz"]

LARGEST_BYTES = 512 << 20
"""Of all arrays of a file together; 100,000 videos of 400 classes have 160 MB per stream in float32."""
_MOST_ARRAYS = 1000
_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: Path, what: str = "scores") -> dict[str, npt.NDArray[Any]]:
    """Return all arrays of an .npz file, by name.

    Args:
        path: the file.
        what: what it should hold, for errors.

    Raises:
        DataError: the file is damaged or encrypted, holds something other than arrays of numbers and text,
            or has arrays of more than 512 MiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            total = sum(member.file_size for member in members)
            if len(members) > _MOST_ARRAYS:
                raise DataError(f"{str(path)!r} holds {len(members)} arrays; expected at most {_MOST_ARRAYS}")
            if total > LARGEST_BYTES:
                raise DataError(
                    f"{str(path)!r} unpacks to {total / 1e6:,.0f} MB; expected at most "
                    f"{LARGEST_BYTES / 1e6:,.0f} MB: write the {what} in several files"
                )
            return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
    except (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, SyntaxError, MemoryError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        # RuntimeError: packed in a way that this Python cannot unpack
        raise DataError(f"cannot read {what} from {str(path)!r}: {error}; expected an .npz file") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return one array, after its header was compared with its size.

    Raises:
        ValueError: it is not an array of numbers or text, or is not as large as its header says.
    """
    name = member.filename
    if member.flag_bits & 1:
        raise ValueError(f"{name!r} is encrypted")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name!r} has version {version} of the .npy format; expected 1.0 or 2.0")
        try:
            shape, _, dtype = _HEADERS[version](file)
        except Exception as error:  # NumPy parses it as Python, which fails in many ways
            raise ValueError(f"{name!r} has a damaged header") from error
        if dtype.hasobject:
            raise ValueError(f"{name!r} holds Python objects, which are not read")
        declared, found = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if declared != found or len(shape) > 4 or min(shape, default=0) < 0:
            raise ValueError(f"{name!r} says it has the shape {shape} of {dtype}, but has {found} bytes")
    with archive.open(member) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file)  # of numbers and text
    return array
