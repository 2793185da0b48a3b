"""Outcomes of many videos, kept in a ledger as they come, and the tables that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.bulk.ledger import Ledger
from hidden_two_stream.bulk.sources import Shard
from hidden_two_stream.bulk.tables import check_table_path, failures_path, write_failures
from hidden_two_stream.bulk.work import Work, find_engine
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError, VideoError, WorkerError
from hidden_two_stream.inference.many import Found, require_workers
from hidden_two_stream.progress import number_of

__all__ = ["BulkListener", "BulkResult", "Placing", "Rows", "collect"]

BulkListener = Callable[[str, Found | HiddenTwoStreamError, int, int], None]
"""Gets each outcome as it comes: the video, its outcome, how many are finished, and of how many."""

Rows = Callable[[], Iterator[dict[str, Any]]]
"""Begins anew with the results of all videos, as the ledger has them."""


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


@dataclass(frozen=True)
class Placing:
    """Who does the work of a table, and which part of it.

    Attributes:
        workers: processes that hold the model, each with one thread.
        shard: part of the videos for this machine, such as "2/8"; None: all.
        retry_failed: try videos again that failed before.
        engine: "pool" or "ray", see `work.ENGINES`.
        address: a Ray cluster; None: Ray starts one on this machine.
    """

    workers: int = 1
    shard: str | None = None
    retry_failed: bool = False
    engine: str = "pool"
    address: str | None = None


def collect(
    sources: Iterable[str | Path],
    out: str | Path,
    placing: Placing,
    make_work: Callable[[], Work],
    options: Mapping[str, Any],
    kept: Callable[[Any], dict[str, Any]],
    write: Callable[[Path, Rows, Work], None],
    on_outcome: BulkListener | None,
) -> BulkResult:
    """Do the work on many videos and write its tables; what is in the ledger is not done again.

    Args:
        sources: files, folders of frames and addresses.
        out: the table of results.
        placing: who does the work.
        make_work: returns the work, after a check of its arguments.
        options: further options that the results depend on.
        kept: what a video's result is in the ledger, JSON-ready.
        write: writes the table of results.
        on_outcome: is told of each outcome.

    Raises:
        UsageError, CheckpointError, MissingDependencyError, DataError, OutputError, WorkerError: as
            `predict_table`.
    """
    require_workers(placing.workers)
    if isinstance(sources, str | Path):
        raise UsageError(f"the sources are {str(sources)!r}; expected a list of videos: [{str(sources)!r}]")
    part = None if placing.shard is None else Shard.parse(placing.shard)
    path = check_table_path(out)
    engine = find_engine(placing.engine, placing.address)
    work = make_work()
    named = list(dict.fromkeys(map(str, sources)))
    named = named if part is None else part.of(named)
    settings = {**work.settings(), **options, "shard": None if part is None else str(part)}
    with Ledger(path, settings) as ledger:
        before = [source for source in named if source in ledger]
        again = set(ledger.failed).intersection(named) if placing.retry_failed else set()
        todo = [source for source in named if source not in ledger or source in again]
        with closing(engine(work, todo, placing.workers)) as outcomes:
            for number, (source, outcome) in enumerate(outcomes, len(named) - len(todo) + 1):
                if isinstance(outcome, HiddenTwoStreamError):
                    ledger.add_failure(source, _reason(outcome))
                else:
                    ledger.add(source, {**kept(outcome), "source": source})
                if on_outcome is not None:
                    on_outcome(source, outcome, number, len(named))
        missing = sum(source not in ledger for source in todo)
        if missing:
            raise WorkerError(
                f"{number_of(missing, 'video')} came back without an outcome; call again to go on"
            )
        return _finish(path, ledger, named, work, len(before) - len(again), write)


def _reason(error: HiddenTwoStreamError) -> str:
    return error.reason if isinstance(error, VideoError) else str(error)


def _finish(
    out: Path,
    ledger: Ledger,
    named: Sequence[str],
    work: Work,
    skipped: int,
    write: Callable[[Path, Rows, Work], None],
) -> BulkResult:
    """Write the tables, in the order of the videos, then those of earlier calls by name."""
    known = set(named)
    done, failed = ledger.done, ledger.failed
    others = [sorted(source for source in sources if source not in known) for sources in (done, failed)]
    is_done = set(done)
    ordered = [source for source in named if source in is_done]
    broken = [source for source in named if source not in is_done]
    write(out, lambda: map(ledger.row, [*ordered, *others[0]]), work)
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
