"""How fast this machine decodes, measures motion, recognizes and trains, and how near its limit that is.

Works of one group take turns, so that other work of the machine meets all of them. Each row also stands
beside the time of a matrix product in the same round: that ratio is comparable between runs and machines.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.environment import machine, versions
from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments.speed_works import GROUPS, Work, works_of
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.parallel import threads

__all__ = ["SpeedRow", "SpeedTable", "measure_machine"]

_SIDE = 768  # of the matrices of the reference
_REFERENCE_OPERATIONS = 2 * _SIDE**3


@dataclass(frozen=True)
class SpeedRow:
    """One measured work.

    Attributes:
        group: "decoding", "motion", "recognition", "stream", "export" or "training".
        name: what was timed.
        milliseconds: median.
        to_reference: median of the ratio to the matrix product of the same round.
        covers_seconds: seconds of video that the work covers; None: it covers no video.
        share_of_peak: operations a second over those of the matrix product, 0…1; None: not counted.
        note: how it was done.
    """

    group: str
    name: str
    milliseconds: float
    to_reference: float
    covers_seconds: float | None = None
    share_of_peak: float | None = None
    note: str = ""

    @property
    def per_video_second(self) -> float | None:
        """Milliseconds for each second of video; None: it covers no video."""
        return None if self.covers_seconds is None else self.milliseconds / self.covers_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"milliseconds_per_video_second": self.per_video_second}


@dataclass(frozen=True)
class SpeedTable:
    """The speed of a machine.

    Attributes:
        rows: what was measured.
        skipped: what was not, and why.
        num_threads: threads of each work.
        rounds: turns of each work.
        peak_gflops: billions of operations a second of the matrix product.
        memory_mb: largest memory of the process, MB; None: unknown on this system.
        machine, versions: where, and with what.
    """

    rows: tuple[SpeedRow, ...]
    skipped: Mapping[str, str]
    num_threads: int
    rounds: int
    peak_gflops: float
    memory_mb: float | None
    machine: str = field(default_factory=machine)
    versions: Mapping[str, str] = field(default_factory=versions)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"rows": [row.to_dict() for row in self.rows]}


def measure_machine(
    groups: tuple[str, ...] = (),
    rounds: int = 7,
    num_threads: int = 1,
    on_work: Callable[[str], None] = lambda _: None,
) -> SpeedTable:
    """Measure the groups of works on this machine's processor.

    Args:
        groups: names of `speed_works.GROUPS`; none: all of them.
        rounds: turns of each work, 1 or more.
        num_threads: threads of each work, of OpenCV too.
        on_work: called with the name of each group before it is measured.

    Raises:
        UsageError: a group is unknown, or a number is less than 1.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise UsageError(f"unknown group {unknown[0]!r}; choose from {', '.join(GROUPS)}")
    for name, number in {"the number of rounds": rounds, "the number of threads": num_threads}.items():
        if number < 1:
            raise UsageError(f"{name} is {number}; expected 1 or more")
    rows: list[SpeedRow] = []
    skipped: dict[str, str] = {}
    references: list[float] = []
    with threads(num_threads), tempfile.TemporaryDirectory() as scratch:
        for group in groups or tuple(GROUPS):
            on_work(group)
            rows += _measured(group, works_of(group, Path(scratch), skipped), rounds, references)
    peak = _REFERENCE_OPERATIONS / (min(references) / 1000)
    return SpeedTable(
        tuple(_with_share(row, peak) for row in rows), skipped, num_threads, rounds, peak / 1e9, _memory_mb()
    )


def _measured(group: str, works: list[Work], rounds: int, references: list[float]) -> list[SpeedRow]:
    """Return a row for each work; the share of the peak still holds the number of operations."""
    product = _matrix_product()
    spent: dict[str, list[float]] = {work.name: [] for work in works}
    ratios: dict[str, list[float]] = {work.name: [] for work in works}
    for _ in range(rounds):
        reference, _ = timed(product)
        references.append(reference)
        for work in works:
            milliseconds, _ = timed(work.call)
            spent[work.name].append(milliseconds)
            ratios[work.name].append(milliseconds / reference)
    return [
        SpeedRow(
            group,
            work.name,
            statistics.median(spent[work.name]),
            statistics.median(ratios[work.name]),
            work.covers_seconds,
            _operations(work),
            work.note,
        )
        for work in works
    ]


def _with_share(row: SpeedRow, peak: float) -> SpeedRow:
    if row.share_of_peak is None:
        return row
    return replace(row, share_of_peak=row.share_of_peak / (row.milliseconds / 1000) / peak)


def _operations(work: Work) -> float | None:
    """Return the multiplications and additions of convolutions and matrix products; None: not PyTorch's."""
    if not work.is_network:
        return None
    with FlopCounterMode(display=False) as counter:
        work.call()
    return float(counter.get_total_flops()) or None


def _matrix_product() -> Callable[[], Any]:
    left, right = torch.rand(2, _SIDE, _SIDE).unbind()
    return lambda: left @ right


def _memory_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1e6 if sys.platform == "darwin" else 1e3)
