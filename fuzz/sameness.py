"""Compares two folders that the same command wrote: bit for bit, but for the times that it took."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["differences", "unreadable"]

_LEFT_OUT = {"tensorboard"}
"""Event files hold the clock; `metrics.jsonl` has the same numbers."""

_TIMES = re.compile(r"seconds$|^seconds_|_ms$|_per_second$")
_SHOWN = {".html", ".svg", ".md"}
"""Pages that show times; they must be there, and whole."""


def differences(one: Path, two: Path) -> list[str]:
    """Return what differs in two folders or files, a line each; empty: nothing."""
    first, second = _files(one), _files(two)
    lines = [f"{name} is only in the first" for name in sorted(first - second)]
    lines += [f"{name} is only in the second" for name in sorted(second - first)]
    for name in sorted(first & second):
        try:
            same = _same(one / name, two / name)
        except Exception as error:  # a damaged file is a finding, whatever it does to a reader
            lines.append(f"{name} cannot be read: {type(error).__name__}: {error}")
            continue
        if not same:
            lines.append(f"{name} differs")
    return lines


def unreadable(folder: Path) -> list[str]:
    """Return the files under their final names that are not whole, a line each."""
    lines = []
    for name in sorted(_files(folder)):
        path = folder / name
        if path.name.startswith(".") or path.name == "metrics.jsonl":  # temporary files; a log may end early
            continue
        try:
            _same(path, path)
        except Exception as error:  # whatever a damaged file does to a reader
            lines.append(f"{name} is not whole: {type(error).__name__}: {error}")
    return lines


def _files(folder: Path) -> set[str]:
    if folder.is_file():
        return {""}
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if not _LEFT_OUT & set(path.parts)}


def _same(one: Path, two: Path) -> bool:
    suffix = one.suffix.lower()
    if suffix in _SHOWN:
        return all(path.read_text(encoding="utf-8").rstrip().endswith(_END[suffix]) for path in (one, two))
    read = _READERS.get(suffix, Path.read_bytes)
    return bool(read(one) == read(two))


_END = {".html": "</html>", ".svg": "</svg>", ".md": ""}


def _tensors(path: Path) -> object:
    from hidden_two_stream.tensors import read_tensors

    tensors, metadata = read_tensors(path)
    plain = {name: (str(t.dtype), t.shape, t.numpy().tobytes()) for name, t in tensors.items()}
    return plain, {key: _timeless(json.loads(value)) for key, value in metadata.items()}


def _arrays(path: Path) -> object:
    with path.open("rb") as file, np.load(file) as archive:
        return {name: (archive[name].dtype, archive[name].tobytes()) for name in archive.files}


def _json(path: Path) -> object:
    return _timeless(json.loads(path.read_text(encoding="utf-8")))


def _lines(path: Path) -> object:
    return [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _timeless(data: Any) -> Any:
    """Return JSON data without the times in it."""
    if isinstance(data, dict):
        return {key: _timeless(value) for key, value in data.items() if not _TIMES.search(key)}
    return [_timeless(value) for value in data] if isinstance(data, list) else data


_READERS: dict[str, Callable[[Path], object]] = {
    ".safetensors": _tensors, ".npz": _arrays, ".json": _json, ".jsonl": _lines
}  # fmt: skip
