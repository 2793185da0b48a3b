"""Labels of many videos in a table: what is done is kept, and the same call goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.bulk.ledger import Ledger
from hidden_two_stream.bulk.sources import Shard
from hidden_two_stream.bulk.tables import check_table_path, failures_path, write_failures, write_results
from hidden_two_stream.bulk.work import Work, find_engine
from hidden_two_stream.errors import UsageError, VideoError, WorkerError
from hidden_two_stream.inference.many import Outcome, require_workers
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.inference.windows import DEFAULT_PROTOCOL
from hidden_two_stream.progress import number_of

__all__ = ["BulkListener", "BulkResult", "predict_table"]

BulkListener = Callable[[str, Outcome, int, int], None]
"""Gets each outcome as it comes: the video, its outcome, how many are finished, and of how many."""


@dataclass(frozen=True)
class BulkResult:
    """What a bulk prediction did.

    Attributes:
        out: the table of results.
        failures: the table of videos that failed; None: none did.
        num_videos: videos that were named for this machine.
        num_done: of these, videos with a result.
        num_failed: of these, videos that failed, now or before.
        num_skipped: of these, videos that were finished before.
        num_others: rows of the table about videos that are not named any more.
        note: what differs from what was asked for; None: nothing.
    """

    out: Path
    failures: Path | None
    num_videos: int
    num_done: int
    num_failed: int
    num_skipped: int
    num_others: int
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        failures = None if self.failures is None else str(self.failures)
        return asdict(self) | {"out": str(self.out), "failures": failures}


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
    require_workers(workers)
    if isinstance(sources, str | Path):
        raise UsageError(f"the sources are {str(sources)!r}; expected a list of videos: [{str(sources)!r}]")
    part = None if shard is None else Shard.parse(shard)
    path = check_table_path(out)
    chosen = find_engine(engine, address)
    work = Work.of(run, protocol, threshold, device)
    named = list(dict.fromkeys(map(str, sources)))
    named = named if part is None else part.of(named)
    settings = {**work.settings(), "top": top, "shard": None if part is None else str(part)}
    with Ledger(path, settings) as ledger:
        before = [source for source in named if source in ledger]
        again = set(ledger.failed).intersection(named) if retry_failed else set()
        todo = [source for source in named if source not in ledger or source in again]
        with closing(chosen(work, todo, workers)) as outcomes:
            for number, (source, outcome) in enumerate(outcomes, len(named) - len(todo) + 1):
                _keep(ledger, source, outcome, top)
                if on_outcome is not None:
                    on_outcome(source, outcome, number, len(named))
        missing = sum(source not in ledger for source in todo)
        if missing:
            raise WorkerError(
                f"{number_of(missing, 'video')} came back without an outcome; call again to go on"
            )
        return _finish(path, ledger, named, work, len(before) - len(again))


def _keep(ledger: Ledger, source: str, outcome: Outcome, top: int) -> None:
    if isinstance(outcome, Exception):
        ledger.add_failure(source, outcome.reason if isinstance(outcome, VideoError) else str(outcome))
    else:
        ledger.add(source, {**outcome.to_dict(top), "source": source})


def _finish(out: Path, ledger: Ledger, named: Sequence[str], work: Work, skipped: int) -> BulkResult:
    """Write the tables, in the order of the videos, then those of earlier calls by name."""
    known = set(named)
    done, failed = ledger.done, ledger.failed
    others = [sorted(source for source in sources if source not in known) for sources in (done, failed)]
    is_done = set(done)
    ordered = [source for source in named if source in is_done]
    broken = [source for source in named if source not in is_done]
    write_results(out, map(ledger.row, [*ordered, *others[0]]), Scoring.of(work.info).streams)
    failures = failures_path(out)
    if broken or others[1]:
        write_failures(failures, map(ledger.row, [*broken, *others[1]]))
    else:
        failures.unlink(missing_ok=True)
    return BulkResult(
        out,
        failures if broken or others[1] else None,
        len(named),
        len(ordered),
        len(broken),
        skipped,
        len(others[0]) + len(others[1]),
        work.note,
    )
