"""From a request to its prediction: admit, receive, decode, score; with a limit on each step."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request

from hidden_two_stream.apps.jobs import QueueFullError
from hidden_two_stream.apps.names import file_title
from hidden_two_stream.apps.service.batching import Batcher
from hidden_two_stream.apps.service.decoding import Decoders, DecodeTask
from hidden_two_stream.apps.service.failures import (
    MalformedError,
    SlowUploadError,
    StoppingError,
    TimeLimitError,
)
from hidden_two_stream.apps.service.measuring import Measures
from hidden_two_stream.apps.service.model import ServedModel
from hidden_two_stream.apps.service.receiving import receive
from hidden_two_stream.apps.service.settings import ServeSettings
from hidden_two_stream.apps.service.storage import Storage
from hidden_two_stream.data.clip_cache import default_workers
from hidden_two_stream.inference.windows import protocol_clips

__all__ = ["DEFAULT_TOP", "MOST_TOP", "Options", "Pipeline"]

DEFAULT_TOP = 5
MOST_TOP = 999_999
_TOP = re.compile(r"[1-9][0-9]{0,5}")
_SCORE = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?|[0-9]+\.")


@dataclass(frozen=True)
class Options:
    """What a request asks for in its address.

    Attributes:
        top: number of best classes in the answer.
        threshold: the fused score below which no class fits; None: that of the service.
        name: how the answer calls the video; None: its file name or URL.
    """

    top: int = DEFAULT_TOP
    threshold: float | None = None
    name: str | None = None

    @classmethod
    def of(cls, request: Request) -> Options:
        """Return the options of a request.

        Raises:
            MalformedError: one is unknown, given twice, or out of range.
        """
        given: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in ("top", "threshold", "name"):
                raise MalformedError(
                    f"unknown parameter {name[:40]!r}; expected top, threshold or name in the address"
                )
            if name in given:
                raise MalformedError(f"the parameter {name} is given twice")
            given[name] = value
        top, threshold = given.get("top", str(DEFAULT_TOP)), given.get("threshold")
        if not _TOP.fullmatch(top):
            raise MalformedError(f"top is {top[:40]!r}; expected a whole number from 1 to {MOST_TOP}")
        if threshold is not None and not (_SCORE.fullmatch(threshold) and 0 <= float(threshold) <= 1):
            raise MalformedError(f"threshold is {threshold[:40]!r}; expected a number from 0 to 1")
        return cls(int(top), None if threshold is None else float(threshold), given.get("name"))


class Pipeline:
    """Predicts videos of requests with one model.

    Args:
        model: the model.
        settings: limits.

    Attributes:
        model, settings: as given.
        measures: counts what happens.
        storage: the videos on disk.
    """

    def __init__(self, model: ServedModel, settings: ServeSettings) -> None:
        self.model, self.settings = model, settings
        self.measures = Measures()
        self.storage = Storage(settings.max_upload_bytes, settings.max_stored_bytes)
        self._urls = settings.urls
        self._admitted = 0
        self._is_started = self._is_stopping = False
        recognizer, protocol = model.recognizer, model.protocol
        self._decoders = Decoders(
            settings.workers or default_workers(),
            lambda path, name: DecodeTask(path, name, recognizer.info.recipe, protocol, model.is_exported),
            self.measures,
        )
        self._batcher = Batcher(
            lambda videos: recognizer.logits_of(videos, protocol),
            settings.max_batch,
            settings.max_wait_ms / 1000,
            self.measures,
        )
        # Decoded frames are large: only as many videos are decoded ahead as two batches can take.
        ahead = 2 * max(1, settings.max_batch // (protocol.clips * protocol.crops))
        self._decoded = asyncio.Semaphore(self._decoders.num_workers + ahead)
        self._watch()

    def _watch(self) -> None:
        measures = self.measures
        measures.describe(self.model.name, self.model.version, self.model.to_dict()["package_version"])
        measures.watch("hts_requests_in_progress", "Predictions in progress", lambda: self._admitted)
        measures.watch("hts_batch_queue", "Videos that wait for a batch", lambda: self._batcher.num_waiting)
        measures.watch("hts_stored_bytes", "Videos on disk, bytes", lambda: self.storage.num_bytes)

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._is_started and not self._is_stopping and self._batcher.is_running

    @property
    def is_broken(self) -> bool:
        """Whether the service must be started again."""
        return self._is_started and not self._is_stopping and not self._batcher.is_running

    async def start(self) -> None:
        """Start to work, in the running event loop.

        Raises:
            WorkerError: worker processes cannot be started.
        """
        self._batcher.start()
        await self._decoders.start()
        self._is_started = True

    async def close(self) -> None:
        """End the work and delete all files."""
        self._is_stopping = True
        self._decoders.close()
        try:
            await self._batcher.close()
        finally:
            self.storage.close()

    async def predict(self, request: Request) -> dict[str, Any]:
        """Return the prediction of the video of a request, as `Prediction.to_dict`.

        Raises:
            HiddenTwoStreamError: of a class in `failures.STATUS`.
        """
        settings, options = self.settings, Options.of(request)
        with self._admission(), self.storage.file() as file:
            with self.measures.stage("receive"):
                try:
                    async with asyncio.timeout(settings.upload_seconds):
                        name = await receive(request, file, self._urls, settings.upload_seconds)
                except TimeoutError as error:
                    raise SlowUploadError(
                        f"the upload takes more than {settings.upload_seconds:g} seconds"
                    ) from error
            if options.name is not None:
                name = file_title(options.name)
            try:
                async with asyncio.timeout(settings.timeout_seconds):
                    return await self._predicted(file.complete(), name, options)
            except TimeoutError as error:
                raise TimeLimitError(
                    f"the answer takes more than {settings.timeout_seconds:g} seconds; try again later"
                ) from error

    @contextmanager
    def _admission(self) -> Iterator[None]:
        if not self.is_ready:
            raise StoppingError("this service is starting or ending; try again soon")
        if self._admitted >= self.settings.max_requests:
            raise QueueFullError(f"{self._admitted} videos are in progress; try again soon")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def _predicted(self, path: Path, name: str, options: Options) -> dict[str, Any]:
        recognizer, protocol = self.model.recognizer, self.model.protocol
        async with self._decoded:
            with self.measures.stage("decode"):
                video = await self._decoders.decode(path, name, self.settings.decode_seconds)
            clips = len(protocol_clips(recognizer.info.recipe, protocol, video.num_frames))
            with self.measures.stage("score"):
                logits = await self._batcher.score(video, clips * protocol.crops)
        threshold = self.settings.threshold if options.threshold is None else options.threshold
        found = recognizer.prediction(video, logits, protocol, threshold)
        return replace(found, warnings=(*self.model.notes, *found.warnings)).to_dict(options.top)
