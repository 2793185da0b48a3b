"""What the service counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Measures", "Measuring"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Measures:
    """The counters, gauges and histograms of one service; nothing in them names a client or a file.

    Attributes:
        batch_videos, batch_clips: sizes of the batches that the networks got.
        restarts: decoding processes that were replaced, by reason.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("hts_requests", "Answers", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "hts_request_seconds",
            "Time from a request to its answer, s",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "hts_stage_seconds",
            "Time of the stages of a prediction: receive, decode, score, s; with waiting",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_videos = Histogram(
            "hts_batch_videos", "Videos per batch", buckets=_SIZES, registry=registry
        )
        self.batch_clips = Histogram("hts_batch_clips", "Clips per batch", buckets=_SIZES, registry=registry)
        self.restarts = Counter(
            "hts_decoder_restarts", "Decoding processes that were replaced", ["reason"], registry=registry
        )
        ProcessCollector(registry=registry)

    def describe(self, model: str, version: str, package: str) -> None:
        """Name the model: its run, the start of its SHA-256, and the version of the package."""
        info = Info("hts_model", "The model that is served", registry=self._registry)
        info.info({"name": model, "version": version, "package": package})

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for when it is read."""
        Gauge(name, text, registry=self._registry).set_function(value)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of a prediction in the block, if it succeeds."""
        began = time.perf_counter()
        yield
        self._stages.labels(name).observe(time.perf_counter() - began)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in the text format of Prometheus, version 0.0.4."""
        return generate_latest(self._registry)


class Measuring:
    """ASGI middleware that counts answers by path and status.

    Args:
        app: the application.
        measures: where to count.
        paths: the paths of the service; all others are counted as "other".
    """

    def __init__(self, app: ASGIApp, measures: Measures, paths: frozenset[str]) -> None:
        self._app, self._measures, self._paths = app, measures, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._measures.answered(path, status, time.perf_counter() - began)
