"""Named tensors in safetensors files, with a description as JSON in the header: never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hidden_two_stream.errors import CheckpointError
from hidden_two_stream.files import atomic_write

__all__ = ["mismatches", "parse_description", "read_metadata", "read_tensors", "write_tensors"]

T = TypeVar("T")

_MOST_TRIES = 20


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors as safetensors, whole or not at all.

    Raises:
        OutputError: the folder is not writable or the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as part:
        try:
            save_file(plain, part, dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    The tensors are copies in memory of their own. Those that safetensors gives are windows on the file, which
    move if the file is replaced, and begin anywhere, where the same numbers can round differently.

    Raises:
        CheckpointError: it is not one, or it is damaged.
    """
    return _read(path, lambda file: (_copies(file), _said(file)))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file alone; its tensors are not read.

    Raises:
        CheckpointError: it is not one, or it is damaged.
    """
    return _read(path, _said)


def _copies(file: Any) -> dict[str, Tensor]:
    return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def _said(file: Any) -> dict[str, str]:
    return dict(file.metadata() or {})


def _read(path: Path, what: Callable[[Any], T]) -> T:
    """`what` of one version of a file that another process may be replacing, such as a run in training.

    `safe_open` opens the file by its name twice, for header and tensors, and may meet two versions.
    """
    for _ in range(_MOST_TRIES):
        try:
            before = _version(path)
            try:
                with safe_open(path, framework="pt") as file:
                    found = what(file)
            except (SafetensorError, RuntimeError) as error:
                if _version(path) == before:
                    raise _damaged(path, error) from error
            else:
                if _version(path) == before:
                    return found
        except OSError as error:
            raise _damaged(path, error) from error
    raise CheckpointError(f"{str(path)!r} is replaced faster than it can be read; try again")


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def parse_description(text: str, file: Path, version: int) -> dict[str, Any]:
    """The JSON of a description, of the format version that is read here.

    Args:
        text: as it stands in the metadata.
        file: names it in errors.
        version: the one `format_version` that is known.

    Raises:
        CheckpointError: it is no JSON table, or of another version.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the description in {str(file)!r} is damaged: {error}") from error
    data = data if isinstance(data, dict) else {}
    found = data.get("format_version")
    if found != version:
        raise CheckpointError(
            f"{str(file)!r} has format version {found}, this package reads {version}; "
            "use the version of hidden-two-stream that wrote it"
        )
    return data


def mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors `found` from standing in for `expected`: names and shapes, a line each."""
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if expected[name].shape != found[name].shape:
            wrong.append(f"{name} has shape {tuple(found[name].shape)}, not {tuple(expected[name].shape)}")
    return sorted(wrong)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{str(path)!r} is not a whole safetensors file: {error}")
