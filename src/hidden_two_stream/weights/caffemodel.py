"""Reads binary Caffe models (`.caffemodel`): the named layers and their arrays.

Field numbers come from Caffe's public `caffe.proto`: NetParameter, LayerParameter and the older
V1LayerParameter, BlobProto, BlobShape. Opening a file reads its headers only; `Blob.read` reads one array.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import CheckpointError, UsageError
from hidden_two_stream.types import FloatArray
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

__all__ = ["Blob", "Layer", "open_caffemodel", "read_layers"]

# NetParameter's two generations of layers: field number → field numbers of a layer's name and blobs.
_LAYER_FIELDS = {100: (1, 7), 2: (4, 6)}
_OLD_SIZES = {1: 0, 2: 1, 3: 2, 4: 3}  # BlobProto's num, channels, height, width → axis
_SHAPE = 7
_LONGEST_SHAPE = 32 * 11  # bytes: Caffe's arrays have at most 32 axes
_NUMBERS: dict[int, tuple[int, np.dtype[np.generic]]] = {
    5: (FIXED32, np.dtype("<f4")),  # data
    8: (FIXED64, np.dtype("<f8")),  # double_data
}

_OTHER_FORMATS = (
    (
        b"\x89HDF",
        "is an HDF5 file; save the network in Caffe's binary format (net.save) and import that file",
    ),
    (b"version https://git-lfs", "is a git-lfs pointer without the file's content; run `git lfs pull`"),
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"\x1f\x8b", "is a gzip archive; unpack it first"),
    (b"<", "is a web page instead of a model; download the file with a browser"),
)


@dataclass(frozen=True)
class _Chunk:
    """Consecutive numbers in a file: `count` items of type `item`, a number or a (tag, value) record."""

    start: int
    count: int
    item: np.dtype[np.generic]


@dataclass(frozen=True)
class Blob:
    """One array of a layer.

    Attributes:
        shape: shape of the array; files of the older format always have four axes.
        file: the caffemodel; must be open while `read` is called.
        chunks: places of the numbers in the file.
    """

    shape: tuple[int, ...]
    file: BufferedIOBase
    chunks: tuple[_Chunk, ...]

    def read(self) -> FloatArray:
        """Return a new float32 array of this shape."""
        values = np.empty(math.prod(self.shape), np.float32)
        position = 0
        for chunk in self.chunks:
            target = values[position : position + chunk.count]
            position += chunk.count
            self.file.seek(chunk.start)
            if chunk.item == target.dtype:
                _fill(self.file, target.view(np.uint8))
            else:
                items = np.empty(chunk.count, chunk.item)
                _fill(self.file, items.view(np.uint8))
                target[:] = items["value"] if chunk.item.names else items
        return values.reshape(self.shape)


@dataclass(frozen=True)
class Layer:
    """A named layer with its arrays: mostly weight and bias, none for layers without parameters."""

    name: str
    blobs: tuple[Blob, ...]


@contextmanager
def open_caffemodel(path: Path) -> Iterator[tuple[Layer, ...]]:
    """Open a binary caffemodel and yield its layers, whose blobs can be read inside the `with` block.

    Raises:
        UsageError: there is no file at `path`.
        CheckpointError: the file is not a binary caffemodel, or is cut off or damaged.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no file at {str(path)!r}; give a .caffemodel file")
    try:
        with path.open("rb") as file:
            _reject_other_formats(file, path)
            yield read_layers(file, path.stat().st_size)
    except WireError as error:
        size = path.stat().st_size
        if error.needed > size:
            reason = f"is cut off: it needs {error.needed} bytes or more and has {size}; download it again"
        else:
            reason = f"is damaged, or not a caffemodel: {error}; give the binary file that Caffe wrote"
        raise CheckpointError(f"{str(path)!r} {reason}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def read_layers(file: BufferedIOBase, size: int) -> tuple[Layer, ...]:
    """Read the layers of a NetParameter message, in the order of the file.

    Args:
        file: holds the message from its first byte on.
        size: length of the message, bytes.

    Raises:
        WireError: the bytes are not such a message.
    """
    layers = []
    for field in read_fields(file, 0, size):
        if field.number == 1 and field.wire_type == VARINT:
            raise WireError("it starts like a solver state or a mean image, which hold no network")
        if field.number in _LAYER_FIELDS and field.wire_type == BYTES:
            layers.append(_read_layer(file, field, *_LAYER_FIELDS[field.number]))
    return tuple(layers)


def _read_layer(file: BufferedIOBase, layer: Field, name_field: int, blobs_field: int) -> Layer:
    name = ""
    blobs = []
    for field in read_fields(file, layer.start, layer.end):
        if field.wire_type != BYTES:
            continue
        if field.number == name_field:
            file.seek(field.start)
            name = file.read(field.end - field.start).decode("utf-8", "backslashreplace")
        elif field.number == blobs_field:
            blobs.append(_read_blob(file, field))
    return Layer(name, tuple(blobs))


def _read_blob(file: BufferedIOBase, blob: Field) -> Blob:
    old_shape = [0, 0, 0, 0]
    shape: list[int] | None = None
    chunks: dict[int, list[_Chunk]] = {number: [] for number in _NUMBERS}
    for field in read_fields(file, blob.start, blob.end):
        if field.number in _NUMBERS:
            _add_chunk(chunks[field.number], field, *_NUMBERS[field.number])
        elif field.number == _SHAPE and field.wire_type == BYTES:
            shape = _read_shape(file, field)
        elif field.number in _OLD_SIZES and field.wire_type == VARINT:
            old_shape[_OLD_SIZES[field.number]] = signed(field.value)
    sizes = tuple(old_shape if shape is None else shape)
    numbers = chunks[8] or chunks[5]  # like Caffe, prefer double_data
    count = sum(chunk.count for chunk in numbers)
    if any(side < 0 for side in sizes) or math.prod(sizes) != count:
        raise WireError(f"the array at byte {blob.start} has {count} numbers, but the shape {sizes}")
    return Blob(sizes, file, tuple(numbers))


def _read_shape(file: BufferedIOBase, shape: Field) -> list[int]:
    if shape.end - shape.start > _LONGEST_SHAPE:
        raise WireError(
            f"byte {shape.start} starts a shape of {shape.end - shape.start} bytes; expected at most "
            f"{_LONGEST_SHAPE}"
        )
    return [
        signed(value)
        for field in read_fields(file, shape.start, shape.end)
        if field.number == 1 and field.wire_type in (VARINT, BYTES)
        for value in read_varints(file, field)
    ]


def _add_chunk(chunks: list[_Chunk], field: Field, wire_type: int, number: np.dtype[np.generic]) -> None:
    """Add the numbers of a field: packed, or one number behind its tag, which extends a run of such."""
    size = field.end - field.start
    if field.wire_type == BYTES:
        if size % number.itemsize:
            raise WireError(
                f"byte {field.start} starts {size} bytes; expected an array of {number.itemsize}-byte numbers"
            )
        chunks.append(_Chunk(field.start, size // number.itemsize, number))
    elif field.wire_type == wire_type:
        record: npt.DTypeLike = [("tag", "u1"), ("value", number)]
        run = _Chunk(field.start - 1, 1, np.dtype(record))
        before = chunks[-1] if chunks else None
        if before and before.item.names and before.start + before.count * before.item.itemsize == run.start:
            chunks[-1] = _Chunk(before.start, before.count + 1, before.item)
        else:
            chunks.append(run)


def _fill(file: BufferedIOBase, target: npt.NDArray[np.uint8]) -> None:
    if file.readinto(target.data) != target.nbytes:
        raise WireError("the file became shorter during reading")


def _reject_other_formats(file: BufferedIOBase, path: Path) -> None:
    head = file.read(512)
    if not head:
        raise CheckpointError(f"{str(path)!r} is empty; copy or download it again")
    for magic, problem in _OTHER_FORMATS:
        if head.startswith(magic):
            raise CheckpointError(f"{str(path)!r} {problem}")
    if _is_text(head):
        raise CheckpointError(
            f"{str(path)!r} is text; a .prototxt describes a network, give the .caffemodel with its weights"
        )


def _is_text(head: bytes) -> bool:
    # A binary model starts with a short length or the tag of its first layer; neither is printable text.
    return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
