"""Writes embeddings of windows of many videos into one file: NumPy .npz, or Parquet.

Both hold one row per window, in the order of the videos and of time, and have `FORMAT_VERSION`:

.npz      videos (V,) names; video_index (N,), the place of a row's video in `videos`; start_seconds and
          end_seconds (N,) float64; spatial and temporal (N, D) float32, those that the run has;
          format_version
.parquet  columns video (text), start_seconds and end_seconds (float64), spatial and temporal (lists of D
          float32); format_version in the metadata of the schema

Rows are collected in temporary files, so memory does not grow with their number.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hidden_two_stream.errors import MissingDependencyError, OutputError, UsageError
from hidden_two_stream.files import atomic_write, make_folder
from hidden_two_stream.types import WindowFeatures

__all__ = ["FORMAT_VERSION", "SUFFIXES", "FeatureWriter", "check_features_path"]

FORMAT_VERSION = 1

SUFFIXES = (".npz", ".parquet")
"""Suffixes of files of features, which choose the format."""

_TIMES = ("start_seconds", "end_seconds")
_CHUNK_ROWS = 4096


def check_features_path(path: Path) -> None:
    """Check that features can be written to `path`, before they are computed.

    Raises:
        UsageError: the suffix is none of `SUFFIXES`.
        MissingDependencyError: the file is Parquet, but pyarrow is not installed.
        OutputError: its folder cannot be made or written to.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write features to {str(path)!r}; name a file {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        _import_pyarrow()
    make_folder(path.parent)


class FeatureWriter:
    """Collects windows of videos, and writes them at the end. A context manager.

    Leaving the block without `finish` writes nothing.

    Args:
        path: the file; see `check_features_path`.

    Raises:
        UsageError, MissingDependencyError, OutputError: as `check_features_path`.
    """

    def __init__(self, path: Path) -> None:
        check_features_path(path)
        self.path = path
        self.num_rows = 0
        self._videos: dict[str, int] = {}
        self._columns: dict[str, _Column] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for column in self._columns.values():
            column.close()

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each stream's embedding; empty before the first window."""
        return {name: column.width for name, column in self._columns.items() if column.width}

    def add(self, video: str, window: WindowFeatures) -> None:
        """Add a window of a video.

        Raises:
            OutputError: the disk is full.
        """
        if not self._columns:
            self._columns = self._new_columns(window.embeddings)
        place = self._videos.setdefault(video, len(self._videos))
        values: dict[str, Any] = {
            "video_index": place,
            "start_seconds": window.start_seconds,
            "end_seconds": window.end_seconds,
            **window.embeddings,
        }
        try:
            for name, column in self._columns.items():
                column.append(values[name])
        except OSError as error:
            raise self._failure(error) from error
        self.num_rows += 1

    def finish(self) -> None:
        """Write the file, atomically; nothing if there are no windows.

        Raises:
            OutputError: it cannot be written.
        """
        if not self.num_rows:
            return
        with atomic_write(self.path) as part:
            if self.path.suffix.lower() == ".npz":
                _write_npz(part, list(self._videos), self._columns, self.num_rows)
            else:
                _write_parquet(part, list(self._videos), self._columns)

    def _new_columns(self, embeddings: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, _Column]:
        try:
            index = {"video_index": _Column(self.path.parent, "<i8", 0)}
            times = {name: _Column(self.path.parent, "<f8", 0) for name in _TIMES}
            vectors = {name: _Column(self.path.parent, "<f4", len(embeddings[name])) for name in embeddings}
        except OSError as error:
            raise self._failure(error) from error
        return index | times | vectors

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {str(self.path)!r}: {error.strerror or error}; expected a writable folder with "
            "free disk space; choose another path"
        )


class _Column:
    """Values of one column, in a temporary file.

    Args:
        folder: where the file is.
        kind: type of the numbers, little-endian.
        width: length of the vectors; 0: single numbers.
    """

    def __init__(self, folder: Path, kind: str, width: int) -> None:
        self.kind, self.width = kind, width
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)

    def append(self, values: npt.ArrayLike) -> None:
        self.file.write(np.asarray(values, self.kind).tobytes())

    def chunks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the values in blocks of `_CHUNK_ROWS` rows, flat."""
        self.file.seek(0)
        size = _CHUNK_ROWS * max(1, self.width) * np.dtype(self.kind).itemsize
        while block := self.file.read(size):
            yield np.frombuffer(block, self.kind)

    def close(self) -> None:
        self.file.close()


def _write_npz(path: Path, videos: list[str], columns: Mapping[str, _Column], num_rows: int) -> None:
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, array in (("format_version", np.array(FORMAT_VERSION)), ("videos", np.array(videos))):
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, array)
        for name, column in columns.items():
            shape = (num_rows, column.width) if column.width else (num_rows,)
            header = {"descr": column.kind, "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_2_0(entry, header)
                column.file.seek(0)
                shutil.copyfileobj(column.file, entry)


def _write_parquet(path: Path, videos: list[str], columns: Mapping[str, _Column]) -> None:
    pyarrow, parquet = _import_pyarrow()
    # Bytes of file names that are not text are written as escapes, as in JSON.
    names = [name.encode("utf-8", "backslashreplace").decode() for name in videos]
    kinds = {"video_index": pyarrow.string(), **dict.fromkeys(_TIMES, pyarrow.float64())}
    fields = [
        pyarrow.field(
            "video" if name == "video_index" else name,
            kinds.get(name) or pyarrow.list_(pyarrow.float32(), column.width),
            nullable=False,
        )
        for name, column in columns.items()
    ]
    schema = pyarrow.schema(fields, metadata={"format_version": str(FORMAT_VERSION)})
    with parquet.ParquetWriter(path, schema) as writer:
        for blocks in zip(*(column.chunks() for column in columns.values()), strict=True):
            arrays = []
            for (name, column), block in zip(columns.items(), blocks, strict=True):
                if name == "video_index":
                    arrays.append(pyarrow.array([names[place] for place in block], pyarrow.string()))
                elif column.width:
                    arrays.append(pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block), column.width))
                else:
                    arrays.append(pyarrow.array(block))
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def _import_pyarrow() -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingDependencyError: they cannot be imported.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            f"a Parquet file needs pyarrow, which cannot be imported ({error}); run "
            "pip install 'hidden-two-stream[parquet]', or name a .npz file"
        ) from error
