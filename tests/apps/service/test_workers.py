"""Batches and workers: nobody's failure is another one's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hidden_two_stream as hts
from hidden_two_stream.apps.service.batching import Batcher
from hidden_two_stream.apps.service.decoding import Decoders, DecodeTask
from hidden_two_stream.apps.service.failures import TimeLimitError
from hidden_two_stream.apps.service.measuring import Measures
from hidden_two_stream.errors import CheckpointError, VideoError
from hidden_two_stream.inference.windows import parse_protocol


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


class Scorer:
    """Scores numbers in place of videos, and remembers the batches."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[list[Any]] = []
        self._seconds = seconds

    def __call__(self, videos: Sequence[Any]) -> list[Any]:
        self.batches.append(list(videos))
        time.sleep(self._seconds)
        if any(video < 0 for video in videos):
            raise CheckpointError(f"{min(videos)}")
        return [{"temporal": np.float32(video)} for video in videos]


async def scored(scorer: Scorer, videos: Sequence[int], clips: int, wait: float = 0.2) -> list[Any]:
    batcher = Batcher(scorer, 10, wait, Measures())  # type: ignore[arg-type]
    batcher.start()
    try:
        work = (batcher.score(video, clips) for video in videos)  # type: ignore[arg-type]
        found = await asyncio.gather(*work, return_exceptions=True)
        assert batcher.num_waiting == 0
    finally:
        await batcher.close()
    return [one if isinstance(one, BaseException) else float(one["temporal"]) for one in found]


def test_batches_hold_as_many_clips_as_may_be() -> None:
    scorer = Scorer()
    assert run(scored(scorer, range(7), 4)) == [0, 1, 2, 3, 4, 5, 6]
    assert scorer.batches == [[0, 1], [2, 3], [4, 5], [6]]


def test_a_video_with_more_clips_is_a_batch() -> None:
    scorer = Scorer()
    assert run(scored(scorer, range(2), 50)) == [0, 1]
    assert scorer.batches == [[0], [1]]


def test_without_others_a_video_waits_as_long_as_is_said() -> None:
    began = time.monotonic()
    run(scored(Scorer(), [1], 1, wait=0.3))
    assert 0.25 < time.monotonic() - began < 5


def test_a_failure_in_a_batch_is_of_one_video() -> None:
    found = run(scored(Scorer(), [1, -2, 3], 1))
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], CheckpointError)
    assert str(found[1]) == "-2"


def test_who_gave_up_is_not_scored() -> None:
    scorer = Scorer()

    async def work() -> None:
        batcher = Batcher(scorer, 10, 0.3, Measures())  # type: ignore[arg-type]
        batcher.start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.score(1, 1), 0.05)  # type: ignore[arg-type]
        assert float((await batcher.score(2, 1))["temporal"]) == 2  # type: ignore[arg-type]
        await batcher.close()

    run(work())
    assert scorer.batches == [[2]]


class Ends:
    """Unpickling it ends the process, as a crash of a decoder does."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


class Hangs:
    def __reduce__(self) -> Any:
        return time.sleep, (60,)


def test_crashes_and_hangs_cost_their_own_request(run_folder: Path, videos: Path) -> None:
    recipe = hts.load(run_folder).info.recipe
    bad = {"crash": Ends(), "hang": Hangs()}

    def task(path: str, name: str) -> DecodeTask:
        return DecodeTask(path, name, bad.get(name, recipe), parse_protocol("center"), False)  # type: ignore[arg-type]

    async def work() -> tuple[list[Any], str]:
        measures = Measures()
        decoders = Decoders(2, task, measures)
        await decoders.start()
        names = ["a", "crash", "b", "hang", "c", "crash", "d"]
        try:
            found = await asyncio.gather(
                *(decoders.decode(videos / "up-0.mp4", name, 3.0) for name in names), return_exceptions=True
            )
        finally:
            decoders.close()
        return found, measures.text().decode()

    found, metrics = run(work())
    assert [getattr(found[index], "source", None) for index in (0, 2, 4, 6)] == ["a", "b", "c", "d"]
    assert isinstance(found[3], TimeLimitError)
    for index in (1, 5):
        assert isinstance(found[index], VideoError)
        assert "its worker process ended" in str(found[index])
    assert 'hts_decoder_restarts_total{reason="crash"} 4.0' in metrics  # each was tried twice
    assert 'hts_decoder_restarts_total{reason="time limit"} 1.0' in metrics


def test_a_worker_that_died_while_idle_costs_nothing(run_folder: Path, videos: Path) -> None:
    recipe = hts.load(run_folder).info.recipe

    async def work() -> Any:
        decoders = Decoders(
            1, lambda path, name: DecodeTask(path, name, recipe, parse_protocol("center"), False), Measures()
        )
        await decoders.start()
        (worker,) = decoders._workers
        for process in worker.pool._processes.values():
            process.kill()
            process.join()
        try:
            return await decoders.decode(videos / "up-0.mp4", "a", 20.0)
        finally:
            decoders.close()

    assert run(work()).num_frames == 30
