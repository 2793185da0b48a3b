"""Segments of many videos in a table: what is done is kept, and the same call goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hidden_two_stream.bulk.collect import BulkListener, BulkResult, Placing, Rows, collect
from hidden_two_stream.bulk.tables import write_segment_rows, write_videos
from hidden_two_stream.bulk.work import Work
from hidden_two_stream.data.segment_files import segment_dict
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.types import VideoSegments

__all__ = ["segment_table"]


def segment_table(
    run: str | Path,
    sources: Iterable[str | Path],
    out: str | Path,
    settings: SegmentSettings | None = None,
    *,
    workers: int = 1,
    device: str = "cpu",
    shard: str | None = None,
    retry_failed: bool = False,
    engine: str = "pool",
    address: str | None = None,
    on_outcome: BulkListener | None = None,
) -> BulkResult:
    """Find what happens when in videos, and write a table with one row per segment, in their order.

    A second table, such as results.videos.jsonl, has one row per video: the number of its segments, which
    can be 0, and what is wrong with it. Ledger, failures, and the way to go on are those of `predict_table`.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        sources: files, folders of frames and addresses.
        out: the table, .jsonl or .parquet, with the columns source, start_seconds, end_seconds, label, score.
        settings: as for `Recognizer.segment`; None: `SegmentSettings()`.
        workers: processes that hold the model, each with one thread.
        device: where to compute.
        shard: part of the videos for this machine, such as "2/8"; None: all.
        retry_failed: try videos again that failed before.
        engine: "pool", processes of this machine; or "ray", Ray Data.
        address: a Ray cluster; None: Ray starts one on this machine.
        on_outcome: is told of each outcome.

    Raises:
        UsageError: an argument is wrong, or the table belongs to another run, settings or shard.
        CheckpointError, MissingDependencyError, DataError, OutputError, WorkerError: as `predict_table`.
    """
    return collect(
        sources,
        out,
        Placing(workers, shard, retry_failed, engine, address),
        lambda: Work.segmenting(run, settings or SegmentSettings(), device),
        {},
        _kept,
        lambda path, rows, _work: _write(path, rows),
        on_outcome,
    )


def _kept(found: VideoSegments) -> dict[str, Any]:
    return {"segments": [segment_dict(each) for each in found.segments], "warnings": list(found.warnings)}


def _write(out: Path, rows: Rows) -> None:
    write_videos(out, _videos(rows))
    write_segment_rows(out, _segments(rows))


def _videos(rows: Rows) -> Iterator[dict[str, Any]]:
    for row in rows():
        yield {
            "source": row["source"], "num_segments": len(row["segments"]), "warnings": row["warnings"],
        }  # fmt: skip


def _segments(rows: Rows) -> Iterator[dict[str, Any]]:
    for row in rows():
        yield from ({"source": row["source"], **segment} for segment in row["segments"])
