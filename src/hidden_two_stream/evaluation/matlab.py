"""Reads arrays of MATLAB 5 files, which MATLAB's `save` writes up to `-v7`; needs scipy (extra `matlab`)."""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import DataError, MissingDependencyError
from hidden_two_stream.npz import LARGEST_BYTES

__all__ = ["read_arrays"]

_HEADER = 128
_CHUNK = 1 << 20  # bytes
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 1 << 11
_NUMERIC_CLASSES = range(6, 16)  # double, single, int8 ... uint64
_NUMBER_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13))
_KINDS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_Elements = Iterator[tuple[int, int, int]]


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the 2-D numeric variables of a .mat file, by name.

    Raises:
        MissingDependencyError: scipy is not installed.
        DataError: the file is damaged or has another format, for example MATLAB 7.3 (HDF5).
    """
    try:
        scipy_io = importlib.import_module("scipy.io")
    except ImportError as error:
        raise MissingDependencyError(
            f"MATLAB files need scipy, which cannot be imported ({error}); "
            "run pip install 'hidden-two-stream[matlab]', or save the scores as .npz or .csv"
        ) from error
    try:
        data = path.read_bytes()
        _check_kind(path, data)
        _check_matrices(data)
        _check_size(path, data)
        found = scipy_io.whosmat(io.BytesIO(data))
        names = [name for name, shape, kind in found if len(shape) == 2 and kind in _KINDS]
        arrays: dict[str, Any] = scipy_io.loadmat(io.BytesIO(data), variable_names=names)
    except DataError:
        raise
    except Exception as error:  # scipy raises errors of any type on damaged files
        raise DataError(f"{str(path)!r} is a damaged MATLAB file: {error}") from error
    return {name: arrays[name] for name in names}


def _check_kind(path: Path, data: bytes) -> None:
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise DataError(f"{str(path)!r} is a MATLAB 7.3 (HDF5) file; save it again with save(..., '-v7')")
    if data[126:128] not in (b"IM", b"MI"):
        raise DataError(f"{str(path)!r} is not a MATLAB 5 file; expected a file that save(..., '-v7') wrote")


def _check_matrices(data: bytes) -> None:
    """Raise ValueError if a matrix of numbers lacks one of its parts, on which scipy crashes the process.

    Compressed matrices need no check, because they carry a checksum. Matrices of other classes are not read.
    """
    order = "<" if data[126:128] == b"IM" else ">"
    for kind, start, end in _elements(data, order, _HEADER, len(data)):
        if kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"no matrix starts at byte {start}")
        if kind == _MATRIX:
            (flags,) = struct.unpack_from(order + "I", data, start + 8)
            types = [part for part, _, _ in _elements(data, order, start, end)]
            # Flags, size, name, numbers, and imaginary parts if the flags say so.
            expected = 5 if flags & _COMPLEX else 4
            if flags & 0xFF in _NUMERIC_CLASSES and not (
                len(types) == expected and _NUMBER_TYPES.issuperset(types)
            ):
                raise ValueError(f"the matrix at byte {start} does not hold numbers")


def _check_size(path: Path, data: bytes) -> None:
    """Raise a DataError if the compressed matrices of a file unpack to more than `LARGEST_BYTES`."""
    order, left = "<" if data[126:128] == b"IM" else ">", LARGEST_BYTES
    for kind, start, end in _elements(data, order, _HEADER, len(data)):
        if kind != _COMPRESSED:
            continue
        unpacking, packed = zlib.decompressobj(), data[start:end]
        while packed and not unpacking.eof:
            left -= len(unpacking.decompress(packed, _CHUNK))
            packed = unpacking.unconsumed_tail
            if left < 0:
                raise DataError(
                    f"{str(path)!r} unpacks to more than {LARGEST_BYTES / 1e6:,.0f} MB; "
                    "write the scores in several files"
                )


def _elements(data: bytes, order: str, start: int, end: int) -> _Elements:
    """Yield the type, first byte and end of each element of a file or matrix."""
    while start < end:
        kind, size = struct.unpack_from(order + "II", data, start)
        if kind >> 16:  # a small element: size, type and up to four bytes, in eight
            yield kind & 0xFFFF, start + 4, start + 4 + (kind >> 16)
            start += 8
            continue
        start += 8
        if start + size > end:
            raise ValueError(f"the data at byte {start} are cut off")
        yield kind, start, start + size
        start += size if kind == _COMPRESSED else -(-size // 8) * 8
