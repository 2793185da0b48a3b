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
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hidden_two_stream.environment import machine, versions
from hidden_two_stream.errors import UsageError
from hidden_two_stream.experiments.speed_inputs import Work
from hidden_two_stream.experiments.speed_works import GROUPS, works_of
from hidden_two_stream.experiments.timing import timed
from hidden_two_stream.parallel import threads

__all__ = ["SpeedRow", "SpeedTable", "measure_machine"]

_SIDE = 768  # of the matrices of the reference
_PEAK_CHANNELS, _PEAK_SIDE = 256, 28  # of the 3×3 convolution that may be faster than the product


@dataclass(frozen=True)
class SpeedRow:
    """One measured work.

    Attributes:
        group: "decoding", "motion", "recognition", "stream", "export" or "training".
        name: what was timed.
        milliseconds: median.
        to_reference: median of the ratio to the matrix product of the same round.
        covers_seconds: seconds of video that the work covers; None: it covers no video.
        share_of_peak: operations a second over `SpeedTable.peak_gflops`; None: not counted.
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
        peak_gflops: billions of operations a second of the matrix product, or of a large convolution if that
            makes more of this processor.
        memory_mb: largest memory of the process after each group, in the order in which they were measured,
            MB; empty: unknown on this system.
        machine, versions: where, and with what.
    """

    rows: tuple[SpeedRow, ...]
    skipped: Mapping[str, str]
    num_threads: int
    rounds: int
    peak_gflops: float
    memory_mb: Mapping[str, float]
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
    memory: dict[str, float] = {}
    with threads(num_threads), tempfile.TemporaryDirectory() as scratch:
        for group in groups or tuple(GROUPS):
            on_work(group)
            rows += _measured(group, works_of(group, Path(scratch), skipped), rounds, references)
            memory.update(_memory_mb(group))
        peak = max(2 * _SIDE**3 / (min(references) / 1000), _convolution_rate(rounds))
    return SpeedTable(
        tuple(_with_share(row, peak) for row in rows), skipped, num_threads, rounds, peak / 1e9, memory
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


def _convolution_rate(rounds: int) -> float:
    """Return the operations a second of a large convolution, the best of several rounds."""
    layer = nn.Conv2d(_PEAK_CHANNELS, _PEAK_CHANNELS, 3, padding=1, bias=False)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(4, _PEAK_CHANNELS, _PEAK_SIDE, _PEAK_SIDE).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        fastest = min(timed(lambda: layer(images))[0] for _ in range(rounds))
    operations = 2 * 9 * _PEAK_CHANNELS**2 * _PEAK_SIDE**2 * len(images)
    return operations / (fastest / 1000)


def _memory_mb(group: str) -> dict[str, float]:
    """Return the largest memory of the process so far under the name of a group; empty: unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {group: largest / (1e6 if sys.platform == "darwin" else 1e3)}
