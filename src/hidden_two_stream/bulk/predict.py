"""Labels of many videos in a table: what is done is kept, and the same call goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hidden_two_stream.bulk.collect import BulkListener, BulkResult, Placing, collect
from hidden_two_stream.bulk.tables import write_results
from hidden_two_stream.bulk.work import Work
from hidden_two_stream.errors import UsageError
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL

__all__ = ["predict_table"]


def predict_table(
    run: str | Path,
    sources: Iterable[str | Path],
    out: str | Path,
    protocol: str = DEFAULT_PROTOCOL,
    *,
    threshold: float | None = None,
    top: int = 5,
    workers: int = 1,
    device: str = "cpu",
    shard: str | None = None,
    retry_failed: bool = False,
    engine: str = "pool",
    address: str | None = None,
    on_outcome: BulkListener | None = None,
) -> BulkResult:
    """Label videos and write a table with one row per video, in the order of the videos.

    Every outcome is kept in a ledger beside the table (results.jsonl.ledger) as soon as it is there. A call
    that ends early, however it ends, leaves no table, and the same call goes on: it repeats at most the
    videos that were in work. Videos are known by their names. A call with further videos adds them.

    Args:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        sources: files, folders of frames and addresses.
        out: the table, .jsonl or .parquet. Videos that failed are in a table of their own beside it, such as
            results.failures.jsonl.
        protocol: as for `Recognizer.predict`.
        threshold: as for `Recognizer.predict`.
        top: number of classes in a row.
        workers: processes that hold the model, each with one thread.
        device: where to compute.
        shard: part of the videos for this machine, such as "2/8"; None: all.
        retry_failed: try videos again that failed before.
        engine: "pool", processes of this machine; or "ray", Ray Data.
        address: a Ray cluster; None: Ray starts one on this machine.
        on_outcome: is told of each outcome.

    Raises:
        UsageError: an argument is wrong, or the table belongs to another run, protocol, threshold, shard or
            number of classes.
        CheckpointError: the run cannot be used.
        MissingDependencyError: a library is not installed.
        DataError: the ledger is damaged.
        OutputError: the table cannot be written.
        WorkerError: workers cannot be started.
    """
    if top < 1:
        raise UsageError(f"top is {top}; expected 1 or more")
    return collect(
        sources,
        out,
        Placing(workers, shard, retry_failed, engine, address),
        lambda: Work.labeling(run, protocol, threshold, device),
        {"top": top},
        lambda prediction: prediction.to_dict(top),
        lambda path, rows, work: write_results(path, rows(), Scoring.of(work.info).streams),
        on_outcome,
    )
