"""The tables of a bulk prediction: a row per video as JSON lines or Parquet, and one for what failed.

Columns of labels are those of `Prediction.to_dict`; segments have a row each, and a second table beside them
has their videos. Columns of failures are `source` and `reason`.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hidden_two_stream.errors import MissingDependencyError, OutputError, UsageError
from hidden_two_stream.files import atomic_write, make_folder
from hidden_two_stream.object_store import is_remote
from hidden_two_stream.printing import json_text

__all__ = [
    "SUFFIXES",
    "check_table_path",
    "failures_path",
    "videos_path",
    "write_failures",
    "write_results",
    "write_segment_rows",
    "write_videos",
]

SUFFIXES = (".jsonl", ".parquet")
"""Suffixes of tables of results, which choose the format."""

FORMAT_VERSION = 1
_GROUP_ROWS = 8192


def failures_path(out: Path) -> Path:
    """Return the table of the videos that failed beside a table of results: results.failures.jsonl."""
    return out.with_name(f"{out.stem}.failures{out.suffix}")


def videos_path(out: Path) -> Path:
    """Return the table of the videos beside a table of segments: results.videos.jsonl."""
    return out.with_name(f"{out.stem}.videos{out.suffix}")


def check_table_path(out: str | Path) -> Path:
    """Return the path of a table of results, after a check that it can be written.

    Raises:
        UsageError: the suffix is none of `SUFFIXES`, or it is an address.
        MissingDependencyError: the file is Parquet, but pyarrow is not installed.
        OutputError: its folder cannot be made or written to, or it is a folder itself.
    """
    text = str(out)
    path = Path(out)
    if is_remote(text):
        raise UsageError(f"cannot write results to {text!r}: a table is written to this machine; name a path")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write results to {text!r}; name a file {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        _import_pyarrow()
    make_folder(path.parent)
    for file in (path, failures_path(path), videos_path(path)):
        if file.exists() and not file.is_file():
            raise OutputError(f"cannot write {str(file)!r}: it is no regular file; choose another path")
    return path


def write_results(path: Path, rows: Iterable[dict[str, Any]], streams: Sequence[str]) -> None:
    """Write the table of results, atomically and in bounded memory.

    Args:
        path: the file.
        rows: what `Prediction.to_dict` returns for each video.
        streams: the streams of the run.

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, rows, lambda arrow: _result_fields(arrow, streams))


def write_segment_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table of segments, atomically and in bounded memory.

    Args:
        path: the file.
        rows: "source" and what `segment_dict` returns for each segment.

    Raises:
        OutputError: it cannot be written.
    """
    _write(
        path,
        rows,
        lambda arrow: [
            _required(arrow, "source", arrow.string()),
            _required(arrow, "start_seconds", arrow.float64()),
            _required(arrow, "end_seconds", arrow.float64()),
            _required(arrow, "label", arrow.string()),
            _required(arrow, "score", arrow.float64()),
        ],
    )


def write_videos(out: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table of videos beside a table of segments, atomically.

    Args:
        out: the table of segments.
        rows: "source", "num_segments" and "warnings" of each video.

    Raises:
        OutputError: it cannot be written.
    """
    _write(
        videos_path(out),
        rows,
        lambda arrow: [
            _required(arrow, "source", arrow.string()),
            _required(arrow, "num_segments", arrow.int64()),
            _required(arrow, "warnings", arrow.list_(arrow.string())),
        ],
    )


def write_failures(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table of failures, atomically; its rows have `source` and `reason`.

    Raises:
        OutputError: it cannot be written.
    """
    _write(
        path, rows, lambda arrow: [_required(arrow, name, arrow.string()) for name in ("source", "reason")]
    )


def _write(path: Path, rows: Iterable[dict[str, Any]], fields: Any) -> None:
    with atomic_write(path) as part:
        if path.suffix.lower() == ".jsonl":
            with open(part, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{json_text(row, indent=None)}\n" for row in rows)
            return
        arrow, parquet = _import_pyarrow()
        schema = arrow.schema(fields(arrow), metadata={"format_version": str(FORMAT_VERSION)})
        with parquet.ParquetWriter(part, schema) as writer:
            remaining = iter(rows)
            while group := [_as_text(row) for row in itertools.islice(remaining, _GROUP_ROWS)]:
                writer.write_table(arrow.Table.from_pylist(group, schema))


def _result_fields(arrow: Any, streams: Sequence[str]) -> list[Any]:
    """Return the columns of `Prediction.to_dict`."""
    scored = arrow.struct([("label", arrow.string()), ("score", arrow.float64())])
    optional = {
        "label": arrow.string(),
        "threshold": arrow.float64(),
        "similarity": arrow.float64(),
        "least_similarity": arrow.float64(),
    }
    kinds = {
        "source": arrow.string(),
        "label": arrow.string(),
        "known": arrow.bool_(),
        "best": arrow.string(),
        "score": arrow.float64(),
        "threshold": arrow.float64(),
        "similarity": arrow.float64(),
        "least_similarity": arrow.float64(),
        "top": arrow.list_(scored),
        "streams": arrow.struct([(name, scored) for name in streams]),
        "num_frames": arrow.int64(),
        "protocol": arrow.string(),
        "warnings": arrow.list_(arrow.string()),
    }
    return [arrow.field(name, kind, nullable=name in optional) for name, kind in kinds.items()]


def _required(arrow: Any, name: str, kind: Any) -> Any:
    return arrow.field(name, kind, nullable=False)


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    # Bytes of file names that are not text are written as escapes, as in JSON.
    return {**row, "source": row["source"].encode("utf-8", "backslashreplace").decode()}


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            f"a Parquet file needs pyarrow, which cannot be imported ({error}); run "
            "pip install 'hidden-two-stream[parquet]', or name a .jsonl file"
        ) from error
