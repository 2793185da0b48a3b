"""The newest frame of a live source: frames that nobody took in time are dropped, never queued.

A thread opens the source, decodes, and keeps one frame. When a camera or a network stream breaks off, it is
opened again, with waits that double from try to try.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from hidden_two_stream.errors import HiddenTwoStreamError, UsageError, VideoError
from hidden_two_stream.video.sources.live import LiveFrame, LiveSource, moved

__all__ = ["GIVE_UP_SECONDS", "NewestFrames", "ignore"]

GIVE_UP_SECONDS = 300.0
_SHORTEST_STEP = 1e-3  # s, between two frames; times always increase
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 16.0  # s, between two tries to open a source again


class NewestFrames:
    """Iterates over a live source: each step gives the newest frame. A context manager.

    Args:
        source: the source; it is opened when the block begins.
        all_frames: drop no frame. The source then waits for whoever takes the frames.
        give_up_seconds: how long to try to open a source again after its last frame.
        on_event: is called with one line when a connection breaks off or comes back. The calls come from
            another thread.

    Attributes:
        num_frames: frames that arrived so far.
        num_dropped: frames of these that were dropped.

    Raises:
        UsageError: `give_up_seconds` is negative.
    """

    def __init__(
        self,
        source: LiveSource,
        *,
        all_frames: bool = False,
        give_up_seconds: float = GIVE_UP_SECONDS,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        if not give_up_seconds >= 0:
            raise UsageError(f"the time to give up is {give_up_seconds!r} s; expected 0 or more")
        self.num_frames = 0
        self.num_dropped = 0
        self._source = source
        self._all_frames = all_frames
        self._give_up_seconds = give_up_seconds
        self._on_event = on_event or ignore
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._newest: LiveFrame | None = None
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"frames of {source.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more frames. A thread that waits for a silent stream ends with its timeout."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield the newest frame, again and again, until the source ends.

        Raises:
            VideoError: the source cannot be opened, breaks off, or does not come back.
        """
        while True:
            with self._changed:
                while self._newest is None and not self._is_over and not self._stop.is_set():
                    self._changed.wait(timeout=1.0)
                frame, self._newest = self._newest, None
                self._changed.notify_all()
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame

    # -- the thread

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # it belongs to whoever takes the frames
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _read(self) -> None:
        """Read the source to its end, and open it again where it breaks off."""
        started, last, wait, broken, seconds = 0.0, 0.0, _FIRST_WAIT, False, -1.0
        while not self._stop.is_set():
            offset: float | None = None
            try:
                for frame in self._source.frames(self._stop.wait):
                    now = time.monotonic()
                    if not self.num_frames:
                        started = now - frame.seconds
                    if offset is None:
                        offset = now - started - frame.seconds if broken else 0.0
                    if broken:
                        self._on_event(f"{self._source.name}: it is back after {now - last:.1f} s")
                    seconds = max(offset + frame.seconds, seconds + _SHORTEST_STEP)
                    self._put(moved(frame, self.num_frames, seconds, frame.after_gap or broken))
                    last, wait, broken = now, _FIRST_WAIT, False
                    if self._stop.is_set():
                        return
                return
            except HiddenTwoStreamError as error:
                if not (self._source.reconnects and self.num_frames):
                    raise
                silent = time.monotonic() - last
                if silent + wait > self._give_up_seconds:
                    reason = error.reason if isinstance(error, VideoError) else str(error)
                    raise VideoError(
                        self._source.name, f"{reason}, and it did not come back for {silent:.0f} s"
                    ) from error
                if not broken:
                    self._on_event(f"{error}; it is opened again")
                broken = True
                self._stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _put(self, frame: LiveFrame) -> None:
        """Keep a frame; a frame that was not taken yet is dropped, or waited for."""
        with self._changed:
            while self._all_frames and self._newest is not None and not self._stop.is_set():
                self._changed.wait(timeout=1.0)
            self.num_frames += 1
            if self._newest is not None:
                self.num_dropped += 1
                if self._newest.after_gap:
                    frame = moved(frame, frame.index, frame.seconds, after_gap=True)
            self._newest = frame
            self._changed.notify_all()


def ignore(_line: str) -> None:
    """Do nothing about an event."""
