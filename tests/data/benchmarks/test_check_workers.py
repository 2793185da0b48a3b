"""The check of a research dataset: a worker that opens a video is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from hidden_two_stream import watchdog
from hidden_two_stream.data.benchmarks import check


def test_a_worker_that_makes_no_progress_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[bool] = []

    def problem(path: str, decode_all: bool) -> None:
        watched.append(bool(watchdog._running))

    def in_processes(
        function: Callable[[str], object], paths: Iterable[str], workers: int, lost: object
    ) -> Iterator[object]:
        assert workers == 2
        return map(function, paths)

    monkeypatch.setattr(check, "_problem", problem)
    monkeypatch.setattr(check, "run_in_processes", in_processes)
    paths = [f"{number}.mp4" for number in range(40)]
    assert [path for path, _ in check._outcomes(paths, True, workers=2)] == paths
    assert watched == [True] * 40
    watched.clear()
    list(check._outcomes(paths, True, workers=0))  # in this process: a clock would end the command
    assert watched == [False] * 40
