"""What a bulk prediction computes, and the ways to have it computed: engines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidden_two_stream.checkpoint import RunInfo, checkpoint_file
from hidden_two_stream.errors import HiddenTwoStreamError, UsageError
from hidden_two_stream.inference.many import (
    Found,
    Job,
    Labels,
    Segments,
    describe_run,
    done_as_completed,
    require_workers,
)
from hidden_two_stream.inference.onnx_recognizer import ONNX_SUFFIX
from hidden_two_stream.inference.scoring import Scoring
from hidden_two_stream.inference.segment_settings import SegmentSettings
from hidden_two_stream.inference.windows import run_protocol
from hidden_two_stream.types import require_threshold
from hidden_two_stream.weights.hub import find_run

__all__ = ["ENGINES", "Engine", "Outcomes", "Work", "find_engine"]


@dataclass(frozen=True)
class Work:
    """A run, and what it does with each video.

    Attributes:
        run: a run folder, a checkpoint file, or an exported .onnx file.
        info: its description.
        job: what is done with each video.
        device: where to compute.
        note: what differs from what was asked for; None: nothing.
    """

    run: str
    info: RunInfo
    job: Job
    device: str
    note: str | None = None

    @classmethod
    def labeling(cls, run: str | Path, protocol: str, threshold: float | None, device: str) -> Work:
        """Return the work of labeling videos, after a check of the arguments. PyTorch is not imported.

        Args:
            run: the run.
            protocol: as for `Recognizer.predict`.
            threshold: as for `Recognizer.predict`.
            device: where to compute.

        Raises:
            UsageError: there is no such run, or an argument is wrong.
            CheckpointError: the run cannot be used.
            MissingDependencyError: a library that the run needs is not installed.
        """
        require_threshold(threshold)
        path, notes = str(run), list[str]()
        info = describe_run(path, device)
        chosen = run_protocol(protocol, info.recipe, notes.append)
        return cls(path, info, Labels(chosen.name, threshold), device, next(iter(notes), None))

    @classmethod
    def segmenting(cls, run: str | Path, settings: SegmentSettings, device: str) -> Work:
        """Return the work of finding segments, after a check of the arguments. PyTorch is not imported.

        Raises:
            UsageError, CheckpointError, MissingDependencyError: as `labeling`.
        """
        path = str(run)
        info = describe_run(path, device)
        Scoring.of(info).segment_rule(settings)
        return cls(path, info, Segments(settings), device)

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on: the content of the run, and the options."""
        file = (
            Path(self.run)
            if self.run.lower().endswith(ONNX_SUFFIX)
            else checkpoint_file(find_run(self.run).path)
        )
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        job = self.job
        options = asdict(job) if isinstance(job, Labels) else {"rows": "segments", **asdict(job.settings)}
        return {"run": digest, **options}


Outcomes = Generator[tuple[str, Found | HiddenTwoStreamError], None, None]

Engine = Callable[[Work, Sequence[str], int], Outcomes]
"""Work, videos and the number of workers → each video with its outcome, in any order."""


def find_engine(name: str, address: str | None = None) -> Engine:
    """Return an engine by its name, after a check that it can be used.

    Args:
        name: one of `ENGINES`.
        address: a Ray cluster; None: Ray starts one on this machine.

    Raises:
        UsageError: there is no such engine, or it has no address.
        MissingDependencyError: Ray is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"the engine is {name!r}; expected {' or '.join(ENGINES)}")
    if address is not None and name != "ray":
        raise UsageError(f"the address {address!r} is that of a Ray cluster; it needs the engine ray")
    return ENGINES[name](address)


def _pool(_address: str | None) -> Engine:
    return _in_processes


def _in_processes(work: Work, sources: Sequence[str], workers: int) -> Outcomes:
    """Do the work in processes of this machine."""
    require_workers(workers)
    return done_as_completed(
        work.run, sources, work.job, workers=min(workers, len(sources)), device=work.device
    )


def _ray(address: str | None) -> Engine:
    from hidden_two_stream.bulk.ray_engine import ray_engine

    return ray_engine(address)


ENGINES: dict[str, Callable[[str | None], Engine]] = {"pool": _pool, "ray": _ray}
"""How each engine is made, by its name."""
