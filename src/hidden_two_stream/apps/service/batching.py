"""Puts the videos of several requests into one batch of the networks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from hidden_two_stream.apps.service.measuring import Measures
from hidden_two_stream.data.clip_cache import DecodedVideo
from hidden_two_stream.types import FloatArray

__all__ = ["Batcher"]

_Logits = Mapping[str, FloatArray]
_Score = Callable[[Sequence[DecodedVideo]], Sequence[_Logits]]


@dataclass(frozen=True)
class _Waiting:
    video: DecodedVideo
    clips: int
    answer: asyncio.Future[_Logits]


class Batcher:
    """Collects videos and scores them together, one batch after the other, in a thread of its own.

    A batch begins with the video that waits longest. Others join until it has enough clips, or until nobody
    has come for a moment. While a batch is scored, the next one collects, so batches grow with the load and
    an idle service hardly waits.

    Args:
        score: decoded videos → the logits of each.
        max_clips: clips of a batch; one video may have more.
        max_wait_seconds: how long the first video of a batch waits for others.
        measures: counts the batches.
    """

    def __init__(self, score: _Score, max_clips: int, max_wait_seconds: float, measures: Measures) -> None:
        self._score, self._max_clips, self._max_wait = score, max_clips, max_wait_seconds
        self._measures = measures
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._held: _Waiting | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._work: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Videos that wait for a batch."""
        return self._queue.qsize() + (self._held is not None)

    @property
    def is_running(self) -> bool:
        """Whether videos are scored."""
        return self._work is not None and not self._work.done()

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._work = asyncio.create_task(self._run())

    async def score(self, video: DecodedVideo, clips: int) -> _Logits:
        """Return the logits of a video.

        Args:
            video: the decoded video.
            clips: number of its clips.

        Raises:
            CheckpointError: its scores are not finite.
        """
        waiting = _Waiting(video, clips, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.answer

    async def close(self) -> None:
        """End the work; what still waits gets no answer."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [one for one in await self._collected() if not one.answer.done()]  # some have given up
            if not batch:
                continue
            self._measures.batch_videos.observe(len(batch))
            self._measures.batch_clips.observe(sum(one.clips for one in batch))
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, [one.video for one in batch])
            for one, outcome in zip(batch, outcomes, strict=True):
                if one.answer.done():
                    continue
                if isinstance(outcome, Exception):
                    one.answer.set_exception(outcome)
                else:
                    one.answer.set_result(outcome)

    async def _collected(self) -> list[_Waiting]:
        first, self._held = self._held or await self._queue.get(), None
        batch, clips = [first], first.clips
        deadline = asyncio.get_running_loop().time() + self._max_wait
        while clips < self._max_clips:
            try:
                async with asyncio.timeout_at(deadline):
                    following = self._queue.get_nowait() if self._queue.qsize() else await self._queue.get()
            except TimeoutError:
                break
            if clips + following.clips > self._max_clips:
                self._held = following  # the next batch begins with it
                break
            batch.append(following)
            clips += following.clips
        return batch

    def _outcomes(self, videos: Sequence[DecodedVideo]) -> list[_Logits | Exception]:
        """Return the logits of each video; if a batch fails, each video is scored alone."""
        try:
            return list(self._score(videos))
        except Exception as error:
            if len(videos) == 1:
                return [error]
        return [self._outcomes([video])[0] for video in videos]
